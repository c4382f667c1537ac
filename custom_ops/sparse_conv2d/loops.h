// The loops themselves, compiled once for each set of instructions; kernels.h says what they do.
#pragma once

#include "custom_ops/common/vector.h"
#include "custom_ops/sparse_conv2d/kernels.h"

namespace keras_sparse::KERAS_SPARSE_INSTRUCTIONS {

// --- where the pixels of a group of tiles lie

// Of tile `first + lane`: image, and the place of its first pixel in the output grid. Lanes beyond the last tile lie
// outside of every image.
struct Places {
  int64_t image[kLanes];
  int32_t y[kLanes], x[kLanes];
};

KS_INLINE void FindPlaces(const PassTables& t, int64_t group, Places& places) {
  for (int lane = 0; lane < kLanes; ++lane) {
    const int64_t tile = group * kLanes + lane;
    const bool inside = tile < t.tiles;
    const int32_t per_image = t.tiles_y * t.tiles_x;
    const int32_t in_image = static_cast<int32_t>(tile % per_image);
    places.image[lane] = inside ? tile / per_image : 0;
    places.y[lane] = inside ? in_image / t.tiles_x * t.tile_h : t.grid_h;
    places.x[lane] = inside ? in_image % t.tiles_x * t.tile_w : t.grid_w;
  }
}

// pixels[i][lane]: the first channel of the input pixel in slot[i], or zeros.
KS_INLINE void FindInputs(const PassTables& t, const Places& places, const float* inputs, const float* zeros,
                          const float** pixels) {
  const uint32_t height = t.in_h, width = t.in_w;
  int64_t image[kLanes];
  int32_t y0[kLanes], x0[kLanes];
  for (int lane = 0; lane < kLanes; ++lane) {
    const bool inside = places.y[lane] < t.grid_h;
    image[lane] = places.image[lane] * t.in_h * t.in_w;
    y0[lane] = inside ? places.y[lane] * t.in_step_y : -(1 << 30);
    x0[lane] = places.x[lane] * t.in_step_x;
  }
  for (int32_t i = 0; i < t.pixels; ++i) {
    for (int lane = 0; lane < kLanes; ++lane) {
      const int32_t y = y0[lane] + t.dy[i], x = x0[lane] + t.dx[i];
      const bool inside = (static_cast<uint32_t>(y) < height) & (static_cast<uint32_t>(x) < width);
      const int64_t pixel = image[lane] + static_cast<int64_t>(y) * t.in_w + x;
      pixels[i * kLanes + lane] = inside ? inputs + pixel * t.in_channels : zeros;
    }
  }
}

// pixels[i][lane]: the first channel of the output pixel i of the tile, or `outside`.
template <class Float>
KS_INLINE void FindOutputs(const PassTables& t, const Places& places, Float* outputs, Float* outside, Float** pixels) {
  for (int32_t i = 0; i < t.tile_h * t.tile_w; ++i) {
    for (int lane = 0; lane < kLanes; ++lane) {
      const int32_t row = places.y[lane] + i / t.tile_w, column = places.x[lane] + i % t.tile_w;
      const int64_t y = t.out_y0 + static_cast<int64_t>(row) * t.out_step_y;
      const int64_t x = t.out_x0 + static_cast<int64_t>(column) * t.out_step_x;
      const bool inside = row < t.grid_h && column < t.grid_w;
      const int64_t pixel = (places.image[lane] * t.out_h + y) * t.out_w + x;
      pixels[i * kLanes + lane] = inside ? outputs + pixel * t.out_channels : outside;
    }
  }
}

// --- between channels side by side and lanes side by side

// rows[channel * stride + lane] = pixels[lane][channel] for the first `channels` channels from `first` on.
KS_INLINE void ToLanes(const float* const* pixels, int64_t first, int64_t channels, float* rows, int64_t stride) {
  for (int64_t c = 0; c < channels; c += kLanes) {
    const int64_t left = channels - c;
    Vector r[kLanes];
    if (left >= kLanes) {
      for (int lane = 0; lane < kLanes; ++lane) r[lane] = LoadUnaligned(pixels[lane] + first + c);
    } else {
      for (int lane = 0; lane < kLanes; ++lane) r[lane] = LoadPart(pixels[lane] + first + c, static_cast<int>(left));
    }
    Transpose(r);
    const int rows_left = left < kLanes ? static_cast<int>(left) : kLanes;
    for (int i = 0; i < rows_left; ++i) Store(rows + (c + i) * stride, r[i]);
  }
}

// The other way round. kStream: whole vectors go past the caches, and all addresses are aligned.
template <bool kStream>
KS_INLINE void FromLanes(const float* rows, int64_t stride, int64_t first, int64_t channels, float* const* pixels) {
  for (int64_t c = 0; c < channels; c += kLanes) {
    const int64_t left = channels - c;
    Vector r[kLanes];
    for (int i = 0; i < kLanes; ++i) r[i] = i < left ? Load(rows + (c + i) * stride) : Vector{};
    Transpose(r);
    for (int lane = 0; lane < kLanes; ++lane) {
      float* p = pixels[lane] + first + c;
      if (left < kLanes) {
        StorePart(p, r[lane], static_cast<int>(left));
      } else if (kStream) {
        Stream(p, r[lane]);
      } else {
        StoreUnaligned(p, r[lane]);
      }
    }
  }
}

// --- one segment

// `bytes` further. The compiler is kept from computing all the addresses of a loop beforehand: it has no registers for
// them.
KS_INLINE const float* NextRow(const float* row, int64_t bytes) {
  row = reinterpret_cast<const float*>(reinterpret_cast<const char*>(row) + bytes);
  __asm__("" : "+r"(row));
  return row;
}

// What the segments of one block use. Loops over it are functions of their own: they need every register.
struct Block {
  const Segment *segments, *end;
  const float* packed;
  int64_t row_bytes;
  const int32_t* offsets;
  float* sums;  // of output 0, which need not be one of the part
};

// sums[pixel of the tile] += weight * packed pixels, for each active weight of each segment.
template <int H, int W, bool kFirst>
__attribute__((noinline)) void MultiplyBlock(const Block& block, const float* weights) {
  const int32_t* offsets = block.offsets;
  const float* const packed = block.packed;
  float* const first_sums = block.sums;
  const int64_t row_bytes = block.row_bytes;
  for (const Segment *segment = block.segments, *end = block.end; segment != end; ++segment) {
    float* sums = first_sums + segment->output * int64_t{H * W * kLanes};
    const int32_t* const last = offsets + segment->count;
    Vector s[H * W];
#pragma GCC unroll 16
    for (int i = 0; i < H * W; ++i) s[i] = kFirst ? Vector{} : Load(sums + i * kLanes);
    for (; offsets != last; ++offsets, ++weights) {
      const float* row = NextRow(packed, *offsets);
      const Vector weight = Broadcast(*weights);
#pragma GCC unroll 4
      for (int y = 0; y < H; ++y) {
#pragma GCC unroll 16
        for (int x = 0; x < W; ++x) s[y * W + x] = MultiplyAdd(weight, Load(row + x * kLanes), s[y * W + x]);
        if (y + 1 < H) row = NextRow(row, row_bytes);
      }
    }
#pragma GCC unroll 16
    for (int i = 0; i < H * W; ++i) Store(sums + i * kLanes, s[i]);
  }
}

// products[k] (+)= sum over the tile of output gradient * packed pixels, lane by lane, for each active weight of the
// segments. Returns where the next segment's offsets begin.
template <int H, int W, bool kAdd>
__attribute__((noinline)) const int32_t* GradientBlock(const Block& block, float* products) {
  const int32_t* offsets = block.offsets;
  const float* const packed = block.packed;
  float* const first_sums = block.sums;
  const int64_t row_bytes = block.row_bytes;
  for (const Segment *segment = block.segments, *end = block.end; segment != end; ++segment) {
    const float* gradient = first_sums + segment->output * int64_t{H * W * kLanes};
    const int32_t* const last = offsets + segment->count;
    Vector g[H * W];
#pragma GCC unroll 16
    for (int i = 0; i < H * W; ++i) g[i] = Load(gradient + i * kLanes);
    for (; offsets != last; ++offsets, products += kLanes) {
      const float* row = NextRow(packed, *offsets);
      Vector s[2] = {kAdd ? Load(products) : Vector{}, Vector{}};
#pragma GCC unroll 4
      for (int y = 0; y < H; ++y) {
#pragma GCC unroll 16
        for (int x = 0; x < W; ++x) {
          Vector& sum = s[(y * W + x) % 2];
          sum = MultiplyAdd(g[y * W + x], Load(row + x * kLanes), sum);
        }
        if (y + 1 < H) row = NextRow(row, row_bytes);
      }
      Store(products, s[0] + s[1]);
    }
  }
  return offsets;
}

// --- the scratch of one piece of work

constexpr int kProducts = 64;  // gradients per lane that wait to be summed, at least

struct Scratch {
  float *zeros, *outside, *packed, *sums, *products;
  const float** inputs;
  float** outputs;
  int64_t floats;

  Scratch(const PassTables& t, int32_t part, float* memory) {
    const int64_t outputs_of_part = t.part_outputs[part + 1] - t.part_outputs[part], tile = t.tile_h * t.tile_w;
    float* next = memory;
    const auto take = [&next](int64_t count) {
      float* taken = next;
      next += (count + 15) / 16 * 16;
      return taken;
    };
    zeros = take(t.in_channels > t.out_channels ? t.in_channels : t.out_channels);
    outside = take(t.out_channels);
    packed = take(static_cast<int64_t>(t.block_channels) * t.slots * kLanes);
    sums = take(outputs_of_part * tile * kLanes);
    products = take((kProducts + kLanes + t.longest_segment) * kLanes);
    inputs = reinterpret_cast<const float**>(take(static_cast<int64_t>(t.pixels) * kLanes * 2));
    outputs = reinterpret_cast<float**>(take(tile * kLanes * 2));
    floats = next - memory;
  }
};
static_assert(sizeof(float*) <= 2 * sizeof(float), "two floats hold a pointer");

inline int64_t ScratchFloats(const PassTables& tables, int32_t part) { return Scratch(tables, part, nullptr).floats; }

// Channels [first, first + channels) of these pixels into the second cache.
KS_INLINE void PrefetchPixels(const float* const* pixels, int64_t first, int64_t channels) {
  for (int lane = 0; lane < kLanes; ++lane)
    for (int64_t c = 0; c < channels; c += 16) __builtin_prefetch(pixels[lane] + first + c, 0, 2);
}

KS_INLINE void Pack(const PassTables& t, const Scratch& scratch, int32_t block) {
  const int64_t first = static_cast<int64_t>(block) * t.block_channels, left = t.in_channels - first;
  const int64_t channels = left < t.block_channels ? left : t.block_channels;
  // Tiles follow each other in memory, so the next group's pixels lie as far behind this one's. Where they do not (at
  // the end of a row that tiles do not fill), nothing is lost but the prefetch.
  const uint32_t height = t.tile_h * t.in_step_y, width = t.tile_w * t.in_step_x;
  const int64_t next_group = int64_t{kLanes} * height * width * t.in_channels + first;
  for (int32_t i = 0; i < t.pixels; ++i) {
    const float* const* pixels = scratch.inputs + i * kLanes;
    if (static_cast<uint32_t>(t.dy[i]) < height && static_cast<uint32_t>(t.dx[i]) < width)
      PrefetchPixels(pixels, next_group, channels);
    ToLanes(pixels, first, channels, scratch.packed + t.slot[i] * kLanes, static_cast<int64_t>(t.slots) * kLanes);
  }
}

// --- one piece of work

// An output that no cache holds until it is read again need not be fetched before it is written.
constexpr int64_t kStreamFloats = 1 << 19;

KS_INLINE bool Streams(const PassTables& t, const float* outputs) {
  const int64_t floats = t.tiles * t.tile_h * t.tile_w * t.out_channels;
  return floats >= kStreamFloats && t.out_channels % kLanes == 0 &&
         reinterpret_cast<uintptr_t>(outputs) % kVectorBytes == 0;
}

KS_INLINE Block BlockOf(const PassTables& t, const Scratch& scratch, int64_t list, int64_t floats_before_part) {
  return {
      t.segments + t.first_segment[list],   t.segments + t.first_segment[list + 1], scratch.packed,
      int64_t{t.row_stride} * kVectorBytes, t.offsets + t.first_active[list],       scratch.sums - floats_before_part};
}

template <int H, int W>
void Multiply(const PassTables& t, const float* inputs, const float* weights, float* outputs, Work work) {
  const Scratch scratch(t, work.part, work.scratch);
  for (int64_t i = 0; i < t.in_channels; ++i) scratch.zeros[i] = 0;
  const int64_t first_output = t.part_outputs[work.part];
  constexpr int64_t kTile = H * W * kLanes;
  const bool stream = Streams(t, outputs);
  Places places;
  for (int64_t group = work.first_group; group < work.end_group; ++group) {
    FindPlaces(t, group, places);
    FindInputs(t, places, inputs, scratch.zeros, scratch.inputs);
    for (int32_t block = 0; block < t.blocks; ++block) {
      const int64_t list = int64_t{work.part} * t.blocks + block;
      if (t.first_active[list] < t.first_active[list + 1]) Pack(t, scratch, block);
      const Block segments = BlockOf(t, scratch, list, first_output * kTile);
      if (block == 0) {
        MultiplyBlock<H, W, true>(segments, weights + t.first_active[list]);
      } else {
        MultiplyBlock<H, W, false>(segments, weights + t.first_active[list]);
      }
    }
    FindOutputs(t, places, outputs, scratch.outside, scratch.outputs);
    const int64_t channels = t.part_outputs[work.part + 1] - first_output;
    for (int i = 0; i < H * W; ++i) {
      const float* sums = scratch.sums + i * kLanes;
      if (stream) {
        FromLanes<true>(sums, kTile, first_output, channels, scratch.outputs + i * kLanes);
      } else {
        FromLanes<false>(sums, kTile, first_output, channels, scratch.outputs + i * kLanes);
      }
    }
  }
  if (stream) EndOfStream();
}

// Moves whole vectors' worth of products into sums, and what is left over to the front. Returns how many are left.
KS_INLINE int32_t SumProducts(float* products, int32_t count, float** sums) {
  int32_t done = 0;
  for (; done + kLanes <= count; done += kLanes, *sums += kLanes)
    StoreUnaligned(*sums, LoadUnaligned(*sums) + SumOfEach(products + done * kLanes));
  for (int32_t i = 0; i < count - done; ++i) Store(products + i * kLanes, Load(products + (done + i) * kLanes));
  return count - done;
}

// All segments of a block, a few at a time: as many as have kProducts products, which are then summed over the lanes.
template <int H, int W>
KS_INLINE void GradientSums(Block block, float* products, float* sums) {
  int32_t waiting = 0;
  const Segment* const end = block.end;
  while (block.segments != end) {
    int32_t count = 0;
    block.end = block.segments;
    while (block.end != end && waiting + count < kProducts) count += block.end++->count;
    block.offsets = GradientBlock<H, W, false>(block, products + waiting * kLanes);
    block.segments = block.end;
    waiting = SumProducts(products, waiting + count, &sums);
  }
  if (waiting == 0) return;
  for (int32_t i = waiting; i < kLanes; ++i) Store(products + i * kLanes, Vector{});
  const Vector last = SumOfEach(products);
  for (int32_t i = 0; i < waiting; ++i) sums[i] += last[i];
}

template <int H, int W>
void Gradient(const PassTables& t, const float* inputs, const float* output_gradient, float* sums, float* lane_sums,
              Work work) {
  const Scratch scratch(t, work.part, work.scratch);
  const int64_t zeros = t.in_channels > t.out_channels ? t.in_channels : t.out_channels;
  for (int64_t i = 0; i < zeros; ++i) scratch.zeros[i] = 0;
  const int64_t first_output = t.part_outputs[work.part], channels = t.part_outputs[work.part + 1] - first_output;
  const int64_t first_of_part = t.first_active[int64_t{work.part} * t.blocks];
  constexpr int64_t kTile = H * W * kLanes;
  Places places;
  for (int64_t group = work.first_group; group < work.end_group; ++group) {
    FindPlaces(t, group, places);
    FindInputs(t, places, inputs, scratch.zeros, scratch.inputs);
    const float** gradients = const_cast<const float**>(scratch.outputs);
    FindOutputs<const float>(t, places, output_gradient, scratch.zeros, gradients);
    for (int i = 0; i < H * W; ++i) {
      PrefetchPixels(gradients + i * kLanes, kTile * t.out_channels + first_output, channels);
      ToLanes(gradients + i * kLanes, first_output, channels, scratch.sums + i * kLanes, kTile);
    }
    for (int32_t block = 0; block < t.blocks; ++block) {
      const int64_t list = int64_t{work.part} * t.blocks + block;
      if (t.first_active[list] == t.first_active[list + 1]) continue;
      Pack(t, scratch, block);
      const Block segments = BlockOf(t, scratch, list, first_output * kTile);
      const int64_t first = t.first_active[list];
      if (lane_sums != nullptr) {
        GradientBlock<H, W, true>(segments, lane_sums + (first - first_of_part) * kLanes);
      } else {
        GradientSums<H, W>(segments, scratch.products, sums + first);
      }
    }
  }
  if (lane_sums == nullptr) return;
  const int64_t begin = first_of_part;
  const int64_t end = t.first_active[int64_t{work.part + 1} * t.blocks];
  for (int64_t i = begin; i < end; i += kLanes) {
    const float* rows = lane_sums + (i - begin) * kLanes;
    if (i + kLanes <= end) {
      StoreUnaligned(sums + i, SumOfEach(rows));
    } else {
      for (int64_t k = i; k < end; ++k, rows += kLanes) {
        sums[k] = 0;
        for (int lane = 0; lane < kLanes; ++lane) sums[k] += rows[lane];
      }
    }
  }
}

// --- which loop is for a tile

constexpr int kMaxSums = kLanes == 16 ? 16 : 12;

// Calls use(number H, number W) for the tile shape of the tables.
#define KS_FOR_TILES(DO) \
  DO(1, 1)               \
  DO(1, 2)               \
  DO(1, 4)               \
  DO(1, 7)               \
  DO(1, 8)               \
  DO(1, 12)              \
  DO(1, 16)              \
  DO(2, 1) DO(2, 2) DO(2, 4) DO(2, 6) DO(2, 7) DO(2, 8) DO(3, 1) DO(3, 2) DO(3, 4) DO(4, 1) DO(4, 2) DO(4, 3) DO(4, 4)

inline void MultiplyAny(const PassTables& t, const float* inputs, const float* weights, float* outputs, Work work) {
  switch (t.tile_h * 100 + t.tile_w) {
#define KS_CASE(H, W) \
  case H * 100 + W:   \
    return Multiply<H, W>(t, inputs, weights, outputs, work);
    KS_FOR_TILES(KS_CASE)
#undef KS_CASE
  }
  __builtin_trap();  // a plan chooses from the same list
}

inline void GradientAny(const PassTables& t, const float* inputs, const float* output_gradient, float* sums,
                        float* lane_sums, Work work) {
  switch (t.tile_h * 100 + t.tile_w) {
#define KS_CASE(H, W) \
  case H * 100 + W:   \
    return Gradient<H, W>(t, inputs, output_gradient, sums, lane_sums, work);
    KS_FOR_TILES(KS_CASE)
#undef KS_CASE
  }
  __builtin_trap();
}

}  // namespace keras_sparse::KERAS_SPARSE_INSTRUCTIONS
