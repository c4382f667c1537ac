// Which tile suits an image best? The one that wastes the fewest lanes and reads the fewest pixels
// twice.
#include <algorithm>

#include "custom_ops/cuda/plan.cuh"

namespace keras_sparse {
namespace {

constexpr int kMostSlots = 12 << 10;  // of one channel
constexpr int kMostChunk = kLanes;    // lanes take channels where they read NHWC
constexpr int kFewBlocks = 2 * 132;   // with fewer, an H200 is not busy

Axis MakeAxis(bool transposed, int64_t in, int64_t out, int64_t taps, int64_t stride, int64_t pad) {
  Axis axis = {};
  axis.transposed = transposed;
  axis.source = static_cast<int>(transposed ? out : in);
  axis.result = static_cast<int>(transposed ? in : out);
  axis.taps = static_cast<int>(taps), axis.stride = static_cast<int>(stride),
  axis.pad = static_cast<int>(pad);
  const int phases = std::min(axis.taps, axis.stride);
  axis.lattices = transposed ? axis.stride : 1;
  axis.residues = transposed ? phases : 1;
  axis.planes = transposed ? 1 : phases;
  axis.span = (axis.taps + axis.stride - 1) / axis.stride;
  axis.most_taps = transposed ? axis.span : axis.taps;
  axis.grid = (axis.result + axis.lattices - 1) / axis.lattices;
  return axis;
}

void SetTile(Axis* axis, int tile) {
  axis->tile = tile;
  axis->plane = tile + axis->span - 1;
}

// The smallest number of at least `least` that is `rest` modulo `modulus`.
int AtLeast(int least, int rest, int modulus) {
  return least + ((rest - least) % modulus + modulus) % modulus;
}

// How lanes and places divide the tile; false if lanes would meet in one bank, or its shape does
// not suit.
bool Divide(Plan* plan) {
  Plan& p = *plan;
  p.lane_columns = std::min(kLanes, p.x.tile / p.columns);
  const int parts = kLanes / p.lane_columns, images = p.images / parts;
  const bool by_rows = parts > 1 && p.images == 1, by_images = parts > 1 && images > 0;
  if (parts > 1 && !by_rows && !by_images) return false;
  p.lane_images = by_images ? images : 0;
  p.lane_rows = by_rows ? kPlaces : 0;
  // Lanes that are one part further are x.tile banks further, modulo twice as many.
  const int banks = by_rows ? p.x.tile / kPlaces : by_images ? p.x.tile / images : p.columns;
  if (banks < p.columns) return false;
  p.row_pitch =
      by_rows ? AtLeast(p.x.slots(), banks, 2 * banks) : AtLeast(p.x.slots(), 0, p.columns);
  const int image = p.y.slots() * p.row_pitch;
  p.image_pitch = by_images ? AtLeast(image, banks, 2 * banks) : image;
  p.channel_pitch =
      AtLeast(p.images * p.image_pitch, p.columns, 2 * p.columns);  // odd, or twice an odd number
  return !p.pairs || p.y.tile * 2 >= kPlaces;                       // strips of at least four rows
}

void SetPlaces(Plan* plan) {
  const int rows = std::min(kPlaces, plan->y.tile),
            wide = plan->x.tile / (plan->lane_columns * plan->columns);
  for (int place = 0; place < kPlaces; ++place) {
    const int image = place / rows / wide, row = place % rows;
    const int column = place / rows % wide * plan->lane_columns * plan->columns;
    plan->place_image[place] = image, plan->place_row[place] = row,
    plan->place_column[place] = column;
    plan->place_bytes[place] =
        (image * plan->image_pitch + row * plan->row_pitch + column) * int{sizeof(float)};
  }
}

// To compute a pixel for all channels of a block takes about four times as long as to read one.
int64_t Cost(const Plan& plan) { return plan.tiles() * (4 * plan.pixels() + plan.channel_pitch); }

bool ChooseTile(Plan* plan) {
  Plan best = *plan, trial = *plan;
  int64_t least = 0;
  for (int width = 4; width <= plan->pixels(); width *= 2)
    for (int height = 1; width * height <= plan->pixels(); height *= 2) {
      SetTile(&trial.x, width);
      SetTile(&trial.y, height);
      trial.images = trial.pixels() / (width * height);
      const int64_t slots = int64_t{trial.images} * trial.y.slots() * trial.x.slots();
      if (slots > kMostSlots || !Divide(&trial) || trial.channel_pitch > kMostSlots) continue;
      if (least != 0 && Cost(trial) > least) continue;  // of equals the widest
      best = trial;
      least = Cost(trial);
    }
  *plan = best;
  if (least != 0) SetPlaces(plan);
  return least != 0;
}

// Floats of source pixels in shared memory, so that as many blocks fit on a multiprocessor of an
// H200 as its registers allow: two for products by pairs, else three. The kernel gradient has 33 KB
// of output gradients besides.
int MostFloats(Product product, const Plan& plan) {
  return product == Product::kKernelGradient ? 12 << 10 : plan.pairs ? 20 << 10 : 16 << 10;
}

void ChooseChannels(Product product, Plan* plan) {
  const int most_floats = MostFloats(product, *plan);
  plan->chunk = 1;
  while (plan->chunk < std::min(kMostChunk, plan->source_channels) &&
         2 * plan->chunk * plan->channel_pitch <= most_floats)
    plan->chunk *= 2;
  plan->chunks = (plan->source_channels + plan->chunk - 1) / plan->chunk;
  plan->group = kWarps * (product == Product::kKernelGradient && plan->pairs ? 2 : 4);
  const int64_t blocks = plan->tiles() * plan->groups();
  if (product != Product::kKernelGradient) {
    plan->splits = 1;
    if (blocks < kFewBlocks) plan->group = kWarps;
    return;
  }
  // Three blocks fit on a multiprocessor; twice as many even out that some have more to do.
  const int64_t others = int64_t{plan->chunks} * plan->groups();
  plan->splits =
      static_cast<int>(std::min(plan->tiles(), std::max<int64_t>(1, 3 * kFewBlocks / others)));
}

// A 1x1 convolution is a matrix product: its pixels in one row, so that tiles need not end with the
// images' rows.
ConvSizes InOneRow(ConvSizes s) {
  if (s.kernel_height * s.kernel_width * s.stride_height * s.stride_width != 1) return s;
  if (s.pad_top != 0 || s.pad_left != 0 || s.out_height != s.in_height || s.out_width != s.in_width)
    return s;
  s.in_width = s.out_width = s.batch * s.in_height * s.in_width;
  s.batch = s.in_height = s.out_height = 1;
  return s;
}

}  // namespace

bool MakePlan(Product product, const ConvSizes& sizes, MaskStructure structure, Plan* plan) {
  const ConvSizes s = InOneRow(sizes);
  const bool transposed = product == Product::kInputGradient;
  const int in = static_cast<int>(s.in_channels), out = static_cast<int>(s.out_channels);
  *plan = {};
  plan->y =
      MakeAxis(transposed, s.in_height, s.out_height, s.kernel_height, s.stride_height, s.pad_top);
  plan->x =
      MakeAxis(transposed, s.in_width, s.out_width, s.kernel_width, s.stride_width, s.pad_left);
  plan->batch = static_cast<int>(s.batch);
  plan->source_channels = transposed ? out : in, plan->result_channels = transposed ? in : out;
  plan->source_stride = transposed ? 1 : out, plan->result_stride = transposed ? out : 1;
  plan->tap_stride = in * out;
  plan->pairs = structure == MaskStructure::kChannelPairs && s.kernel_height == 3 &&
                s.kernel_width == 3 && s.stride_height == 1 && s.stride_width == 1;
  plan->columns = plan->pairs ? 2 : 1;
  if (!ChooseTile(plan)) return false;
  ChooseChannels(product, plan);
  return true;
}

}  // namespace keras_sparse
