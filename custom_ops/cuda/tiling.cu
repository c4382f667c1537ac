// The best tile for an image wastes the fewest lanes and reads the fewest pixels twice.
#include <algorithm>

#include "custom_ops/contract/matmul.h"
#include "custom_ops/cuda/tiling.cuh"

namespace keras_sparse {
namespace {

constexpr int kMostSlots = 12 << 10;    // of one channel
constexpr int kMostChunk = kWarpLanes;  // lanes take channels where they read NHWC
constexpr int kFewBlocks = 2 * 132;     // with fewer, an H200 is not busy

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
  axis.span = DivideUp(axis.taps, axis.stride);
  axis.most_taps = transposed ? axis.span : axis.taps;
  axis.grid = DivideUp(axis.result, axis.lattices);
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
bool Divide(CudaTiling* tiling) {
  CudaTiling& p = *tiling;
  p.lane_columns = std::min(kWarpLanes, p.x.tile / p.columns);
  const int parts = kWarpLanes / p.lane_columns, images = p.images / parts;
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

void SetPlaces(CudaTiling* tiling) {
  const int rows = std::min(kPlaces, tiling->y.tile),
            wide = tiling->x.tile / (tiling->lane_columns * tiling->columns);
  for (int place = 0; place < kPlaces; ++place) {
    const int image = place / rows / wide, row = place % rows;
    const int column = place / rows % wide * tiling->lane_columns * tiling->columns;
    tiling->place_image[place] = image, tiling->place_row[place] = row,
    tiling->place_column[place] = column;
    tiling->place_bytes[place] =
        (image * tiling->image_pitch + row * tiling->row_pitch + column) * int{sizeof(float)};
  }
}

// To compute a pixel for all channels of a block takes about four times as long as to read one.
int64_t Cost(const CudaTiling& tiling) {
  return tiling.tiles() * (4 * tiling.pixels() + tiling.channel_pitch);
}

bool ChooseTile(CudaTiling* tiling) {
  CudaTiling best = *tiling, trial = *tiling;
  int64_t least = 0;
  for (int width = 4; width <= tiling->pixels(); width *= 2)
    for (int height = 1; width * height <= tiling->pixels(); height *= 2) {
      SetTile(&trial.x, width);
      SetTile(&trial.y, height);
      trial.images = trial.pixels() / (width * height);
      const int64_t slots = int64_t{trial.images} * trial.y.slots() * trial.x.slots();
      if (slots > kMostSlots || !Divide(&trial) || trial.channel_pitch > kMostSlots) continue;
      if (least != 0 && Cost(trial) > least) continue;  // of equals the widest
      best = trial;
      least = Cost(trial);
    }
  *tiling = best;
  if (least != 0) SetPlaces(tiling);
  return least != 0;
}

// Floats of source pixels in shared memory, so that as many blocks fit on a multiprocessor of an
// H200 as its registers allow: two for products by pairs, else three. The kernel gradient has 33 KB
// of output gradients besides.
int MostFloats(Product product, const CudaTiling& tiling) {
  return product == Product::kKernelGradient ? 12 << 10 : tiling.pairs ? 20 << 10 : 16 << 10;
}

void ChooseChannels(Product product, CudaTiling* tiling) {
  const int most_floats = MostFloats(product, *tiling);
  tiling->chunk = 1;
  while (tiling->chunk < std::min(kMostChunk, tiling->source_channels) &&
         2 * tiling->chunk * tiling->channel_pitch <= most_floats)
    tiling->chunk *= 2;
  tiling->chunks = DivideUp(tiling->source_channels, tiling->chunk);
  tiling->group = kWarps * (product == Product::kKernelGradient && tiling->pairs ? 2 : 4);
  const int64_t blocks = tiling->tiles() * tiling->groups();
  if (product != Product::kKernelGradient) {
    tiling->splits = 1;
    if (blocks < kFewBlocks) tiling->group = kWarps;
    return;
  }
  // Three blocks fit on a multiprocessor; twice as many even out that some have more to do.
  const int64_t others = int64_t{tiling->chunks} * tiling->groups();
  tiling->splits =
      static_cast<int>(std::min(tiling->tiles(), std::max<int64_t>(1, 3 * kFewBlocks / others)));
}

}  // namespace

bool MakeCudaTiling(Product product, const Convolution& convolution, CudaTiling* tiling) {
  const ConvSizes s = InOneRow(convolution.sizes);
  const bool transposed = product == Product::kInputGradient;
  const int in = static_cast<int>(s.in_channels), out = static_cast<int>(s.out_channels);
  *tiling = {};
  tiling->y =
      MakeAxis(transposed, s.in_height, s.out_height, s.kernel_height, s.stride_height, s.pad_top);
  tiling->x =
      MakeAxis(transposed, s.in_width, s.out_width, s.kernel_width, s.stride_width, s.pad_left);
  tiling->batch = static_cast<int>(s.batch);
  tiling->source_channels = transposed ? out : in, tiling->result_channels = transposed ? in : out;
  tiling->source_stride = transposed ? 1 : out, tiling->result_stride = transposed ? out : 1;
  tiling->tap_stride = in * out;
  tiling->pairs = convolution.structure.kind == MaskStructure::kChannelPairs &&
                  s.kernel_height == 3 && s.kernel_width == 3 && s.stride_height == 1 &&
                  s.stride_width == 1;
  tiling->columns = tiling->pairs ? 2 : 1;
  if (!ChooseTile(tiling)) return false;
  ChooseChannels(product, tiling);
  return true;
}

}  // namespace keras_sparse
