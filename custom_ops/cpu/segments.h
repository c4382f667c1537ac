// The innermost loops: what all active weights of a chunk of input channels do to one group of
// tiles.
#pragma once

#include "custom_ops/cpu/kernels.h"
#include "custom_ops/cpu/vector.h"

namespace keras_sparse::KERAS_SPARSE_INSTRUCTIONS {

// `bytes` further. The compiler is kept from computing all the addresses of a loop beforehand: it
// has no registers for them.
KS_INLINE const float* NextRow(const float* row, int64_t bytes) {
  row = reinterpret_cast<const float*>(reinterpret_cast<const char*>(row) + bytes);
  __asm__("" : "+r"(row));
  return row;
}

// What the segments of one chunk use. Loops over it are functions of their own: they need every
// register.
struct Chunk {
  const Segment *segments, *end;
  const float* packed;
  int64_t row_bytes;
  const int32_t* offsets;
  float* sums;  // of output 0, which need not be one of the part
};

// sums[pixel of the tile] += weight * packed pixels, for each active weight of each segment.
template <int H, int W, bool kFirst>
__attribute__((noinline)) void MultiplyChunk(const Chunk& chunk, const float* weights) {
  const int32_t* offsets = chunk.offsets;
  const float* const packed = chunk.packed;
  float* const first_sums = chunk.sums;
  const int64_t row_bytes = chunk.row_bytes;
  for (const Segment *segment = chunk.segments, *end = chunk.end; segment != end; ++segment) {
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
        for (int x = 0; x < W; ++x)
          s[y * W + x] = MultiplyAdd(weight, Load(row + x * kLanes), s[y * W + x]);
        if (y + 1 < H) row = NextRow(row, row_bytes);
      }
    }
#pragma GCC unroll 16
    for (int i = 0; i < H * W; ++i) Store(sums + i * kLanes, s[i]);
  }
}

// products[k] (+)= sum over the tile of output gradient * packed pixels, lane by lane, for each
// active weight of the segments. Returns where the next segment's offsets begin.
template <int H, int W, bool kAdd>
__attribute__((noinline)) const int32_t* GradientChunk(const Chunk& chunk, float* products) {
  const int32_t* offsets = chunk.offsets;
  const float* const packed = chunk.packed;
  float* const first_sums = chunk.sums;
  const int64_t row_bytes = chunk.row_bytes;
  for (const Segment *segment = chunk.segments, *end = chunk.end; segment != end; ++segment) {
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

}  // namespace keras_sparse::KERAS_SPARSE_INSTRUCTIONS
