// The innermost loops over active blocks: a few pixels, all input channels.
#pragma once

#include "custom_ops/cpu/block_tables.h"
#include "custom_ops/cpu/segments.h"
#include "custom_ops/cpu/vector.h"

namespace keras_sparse::KERAS_SPARSE_INSTRUCTIONS {

constexpr int kBlockSums = kLanes == 16 ? 24 : 12;  // sums that fit the registers

// The pixels of a row that are computed at once, for blocks of this many output channels.
constexpr int MostPixels(int outputs) {
  return kBlockSums / outputs < 8 ? kBlockSums / outputs : 8;
}

// What the segments of one part use.
struct BlockSegments {
  const Segment *segments, *end;
  const int32_t* offsets;
  int64_t channel_bytes;  // from a packed channel to the next
};

// sums[output][pixel] = sum of weight * packed pixel, for P pixels from `packed` on and every
// output channel of the part. `weights`: [active block][summed][output].
template <int S, int O, int P>
__attribute__((noinline)) void MultiplyBlocks(const BlockSegments& list, const float* packed,
                                              const float* weights, float* sums) {
  const int32_t* offsets = list.offsets;
  const int64_t channel_bytes = list.channel_bytes;
  for (const Segment *segment = list.segments, *end = list.end; segment != end; ++segment) {
    const int32_t* const last = offsets + segment->count;
    Vector s[O][P] = {};
    for (; offsets != last; ++offsets) {
      const float* row = NextRow(packed, *offsets);
#pragma GCC unroll 8
      for (int i = 0; i < S; ++i, weights += O) {
        Vector v[P];
#pragma GCC unroll 8
        for (int p = 0; p < P; ++p) v[p] = Load(row + p * kLanes);
        if (i + 1 < S) row = NextRow(row, channel_bytes);
#pragma GCC unroll 8
        for (int o = 0; o < O; ++o) {
          const Vector weight = Broadcast(weights[o]);
#pragma GCC unroll 8
          for (int p = 0; p < P; ++p) s[o][p] = MultiplyAdd(weight, v[p], s[o][p]);
        }
      }
    }
#pragma GCC unroll 8
    for (int o = 0; o < O; ++o)
#pragma GCC unroll 8
      for (int p = 0; p < P; ++p, sums += kLanes) Store(sums, s[o][p]);
  }
}

// A tile of output gradients in lanes, and the packed pixels that belong to it.
struct TileOfGradients {
  const float *packed, *gradients;
  int32_t height, width;
  int64_t row_bytes;        // from a row of packed pixels to the next
  int64_t gradient_floats;  // from a channel of gradients to the next
};

// s[summed][output] = sum over the tile of packed pixel * output gradient, for O of the output
// channels of one active block.
template <int S, int O>
KS_INLINE void GradientOfBlock(const TileOfGradients& tile, const float* pixels,
                               const float* gradients, int64_t channel_bytes, Vector (&s)[S][O]) {
  for (int32_t y = 0; y < tile.height; ++y) {
    const float* row = pixels;
    for (int32_t x = 0; x < tile.width; ++x, row += kLanes, gradients += kLanes) {
      Vector g[O];
#pragma GCC unroll 8
      for (int o = 0; o < O; ++o) g[o] = Load(gradients + o * tile.gradient_floats);
      const char* channel = reinterpret_cast<const char*>(row);
#pragma GCC unroll 8
      for (int i = 0; i < S; ++i) {
        const Vector v = Load(reinterpret_cast<const float*>(channel + i * channel_bytes));
#pragma GCC unroll 8
        for (int o = 0; o < O; ++o) s[i][o] = MultiplyAdd(v, g[o], s[i][o]);
      }
    }
    pixels = NextRow(pixels, tile.row_bytes);
  }
}

// sums[active block][summed][output] += sum over the tile and the lanes.
template <int S, int O>
__attribute__((noinline)) void GradientBlocks(const BlockSegments& list,
                                              const TileOfGradients& tile, float* sums) {
  constexpr int kOnce = S * O <= kBlockSums ? O : O / 2;  // output channels whose sums fit
  constexpr int kVectors = S * O < kLanes ? kLanes : S * O;
  const int32_t* offsets = list.offsets;
  for (const Segment *segment = list.segments, *end = list.end; segment != end; ++segment) {
    const float* gradients = tile.gradients + segment->output * (O * tile.gradient_floats);
    for (const int32_t* const last = offsets + segment->count; offsets != last; ++offsets) {
      alignas(kVectorBytes) float products[kVectors * kLanes] = {};
      for (int o = 0; o < O; o += kOnce) {
        Vector s[S][kOnce] = {};
        GradientOfBlock<S, kOnce>(tile, NextRow(tile.packed, *offsets),
                                  gradients + o * tile.gradient_floats, list.channel_bytes, s);
        for (int i = 0; i < S; ++i)
          for (int k = 0; k < kOnce; ++k) Store(products + (i * O + o + k) * kLanes, s[i][k]);
      }
      for (int i = 0; i + kLanes <= S * O; i += kLanes)
        StoreUnaligned(sums + i, LoadUnaligned(sums + i) + SumOfEach(products + i * kLanes));
      if constexpr (S * O < kLanes) {
        const Vector last_sums = SumOfEach(products);
        for (int i = 0; i < S * O; ++i) sums[i] += last_sums[i];
      }
      sums += S * O;
    }
  }
}

}  // namespace keras_sparse::KERAS_SPARSE_INSTRUCTIONS
