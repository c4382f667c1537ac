// How the products of a kernel gradient, one a lane, become a sum for each active weight.
#pragma once

#include "custom_ops/cpu/kernels.h"
#include "custom_ops/cpu/segments.h"
#include "custom_ops/cpu/vector.h"
#include "custom_ops/cpu/work_buffer.h"

namespace keras_sparse::KERAS_SPARSE_INSTRUCTIONS {

// Moves whole vectors' worth of products into sums, and what is left over to the front. Returns how
// many are left.
KS_INLINE int32_t SumProducts(float* products, int32_t count, float** sums) {
  int32_t done = 0;
  for (; done + kLanes <= count; done += kLanes, *sums += kLanes)
    StoreUnaligned(*sums, LoadUnaligned(*sums) + SumOfEach(products + done * kLanes));
  for (int32_t i = 0; i < count - done; ++i)
    Store(products + i * kLanes, Load(products + (done + i) * kLanes));
  return count - done;
}

// All segments of a chunk, in parts of at most kProducts products, which are then summed over the
// lanes.
template <int H, int W>
KS_INLINE void GradientSums(Chunk chunk, float* products, float* sums) {
  int32_t waiting = 0;
  const Segment* const end = chunk.end;
  while (chunk.segments != end) {
    int32_t count = 0;
    chunk.end = chunk.segments;
    while (chunk.end != end && waiting + count < kProducts) count += chunk.end++->count;
    chunk.offsets = GradientChunk<H, W, false>(chunk, products + waiting * kLanes);
    chunk.segments = chunk.end;
    waiting = SumProducts(products, waiting + count, &sums);
  }
  if (waiting == 0) return;
  for (int32_t i = waiting; i < kLanes; ++i) Store(products + i * kLanes, Vector{});
  const Vector last = SumOfEach(products);
  for (int32_t i = 0; i < waiting; ++i) sums[i] += last[i];
}

// sums = those of the lanes, for the active weights of a part.
inline void SumLanes(const LatticeTables& t, int32_t part, const float* lane_sums, float* sums) {
  const int64_t begin = t.first_active[int64_t{part} * t.chunks];
  const int64_t end = t.first_active[int64_t{part + 1} * t.chunks];
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

}  // namespace keras_sparse::KERAS_SPARSE_INSTRUCTIONS
