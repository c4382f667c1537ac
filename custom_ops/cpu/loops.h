// The loops over groups of tiles and chunks of channels, compiled once for each set of
// instructions. kernels.h says what they do.
#pragma once

#include "custom_ops/cpu/kernels.h"
#include "custom_ops/cpu/lanes.h"
#include "custom_ops/cpu/segments.h"
#include "custom_ops/cpu/tile_pixels.h"
#include "custom_ops/cpu/vector.h"
#include "custom_ops/cpu/work_buffer.h"

namespace keras_sparse::KERAS_SPARSE_INSTRUCTIONS {

KS_INLINE void Pack(const LatticeTables& t, const WorkBuffer& buffer, int32_t chunk) {
  const int64_t first = static_cast<int64_t>(chunk) * t.chunk_channels,
                left = t.in_channels - first;
  const int64_t channels = left < t.chunk_channels ? left : t.chunk_channels;
  // Tiles follow each other in memory, so the next group's pixels lie as far behind this one's.
  // Where they do not (at the end of a row that tiles do not fill), nothing is lost but the
  // prefetch.
  const uint32_t height = t.tile_h * t.in_step_y, width = t.tile_w * t.in_step_x;
  const int64_t next_group = int64_t{kLanes} * height * width * t.in_channels + first;
  for (int32_t i = 0; i < t.pixels; ++i) {
    const float* const* pixels = buffer.inputs + i * kLanes;
    if (static_cast<uint32_t>(t.dy[i]) < height && static_cast<uint32_t>(t.dx[i]) < width)
      PrefetchPixels(pixels, next_group, channels);
    ToLanes(pixels, first, channels, buffer.packed + t.slot[i] * kLanes,
            static_cast<int64_t>(t.slots) * kLanes);
  }
}

// --- one work item

KS_INLINE Chunk ChunkOf(const LatticeTables& t, const WorkBuffer& buffer, int64_t list,
                        int64_t floats_before_part) {
  return {t.segments + t.first_segment[list],
          t.segments + t.first_segment[list + 1],
          buffer.packed,
          int64_t{t.row_stride} * kVectorBytes,
          t.offsets + t.first_active[list],
          buffer.sums - floats_before_part};
}

template <int H, int W>
void Multiply(const LatticeTables& t, const float* inputs, const float* weights, float* outputs,
              WorkItem work) {
  const WorkBuffer buffer(t, work.part, work.buffer);
  for (int64_t i = 0; i < t.in_channels; ++i) buffer.zeros[i] = 0;
  const int64_t first_output = t.part_outputs[work.part];
  constexpr int64_t kTile = H * W * kLanes;
  const bool stream = Streams(t, outputs);
  TilePixels tiles;
  for (int64_t group = work.first_group; group < work.end_group; ++group) {
    FindTiles(t, group, tiles);
    FindInputs(t, tiles, inputs, buffer.zeros, buffer.inputs);
    for (int32_t chunk = 0; chunk < t.chunks; ++chunk) {
      const int64_t list = int64_t{work.part} * t.chunks + chunk;
      if (t.first_active[list] < t.first_active[list + 1]) Pack(t, buffer, chunk);
      const Chunk segments = ChunkOf(t, buffer, list, first_output * kTile);
      if (chunk == 0) {
        MultiplyChunk<H, W, true>(segments, weights + t.first_active[list]);
      } else {
        MultiplyChunk<H, W, false>(segments, weights + t.first_active[list]);
      }
    }
    FindOutputs(t, tiles, outputs, buffer.outside, buffer.outputs);
    const int64_t channels = t.part_outputs[work.part + 1] - first_output;
    for (int i = 0; i < H * W; ++i) {
      const float* sums = buffer.sums + i * kLanes;
      if (stream) {
        FromLanes<true>(sums, kTile, first_output, channels, buffer.outputs + i * kLanes);
      } else {
        FromLanes<false>(sums, kTile, first_output, channels, buffer.outputs + i * kLanes);
      }
    }
  }
  if (stream) EndOfStream();
}

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

template <int H, int W>
void Gradient(const LatticeTables& t, const float* inputs, const float* output_gradient,
              float* sums, float* lane_sums, WorkItem work) {
  const WorkBuffer buffer(t, work.part, work.buffer);
  const int64_t zeros = t.in_channels > t.out_channels ? t.in_channels : t.out_channels;
  for (int64_t i = 0; i < zeros; ++i) buffer.zeros[i] = 0;
  const int64_t first_output = t.part_outputs[work.part],
                channels = t.part_outputs[work.part + 1] - first_output;
  const int64_t first_of_part = t.first_active[int64_t{work.part} * t.chunks];
  constexpr int64_t kTile = H * W * kLanes;
  TilePixels tiles;
  for (int64_t group = work.first_group; group < work.end_group; ++group) {
    FindTiles(t, group, tiles);
    FindInputs(t, tiles, inputs, buffer.zeros, buffer.inputs);
    const float** gradients = const_cast<const float**>(buffer.outputs);
    FindOutputs<const float>(t, tiles, output_gradient, buffer.zeros, gradients);
    for (int i = 0; i < H * W; ++i) {
      PrefetchPixels(gradients + i * kLanes, kTile * t.out_channels + first_output, channels);
      ToLanes(gradients + i * kLanes, first_output, channels, buffer.sums + i * kLanes, kTile);
    }
    for (int32_t chunk = 0; chunk < t.chunks; ++chunk) {
      const int64_t list = int64_t{work.part} * t.chunks + chunk;
      if (t.first_active[list] == t.first_active[list + 1]) continue;
      Pack(t, buffer, chunk);
      const Chunk segments = ChunkOf(t, buffer, list, first_output * kTile);
      const int64_t first = t.first_active[list];
      if (lane_sums != nullptr) {
        GradientChunk<H, W, true>(segments, lane_sums + (first - first_of_part) * kLanes);
      } else {
        GradientSums<H, W>(segments, buffer.products, sums + first);
      }
    }
  }
  if (lane_sums == nullptr) return;
  const int64_t begin = first_of_part;
  const int64_t end = t.first_active[int64_t{work.part + 1} * t.chunks];
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

inline void MultiplyAny(const LatticeTables& t, const float* inputs, const float* weights,
                        float* outputs, WorkItem work) {
  switch (t.tile_h * 100 + t.tile_w) {
#define KS_CASE(H, W) \
  case H * 100 + W:   \
    return Multiply<H, W>(t, inputs, weights, outputs, work);
    KS_FOR_TILES(KS_CASE)
#undef KS_CASE
  }
  __builtin_trap();  // a plan chooses from the same list
}

inline void GradientAny(const LatticeTables& t, const float* inputs, const float* output_gradient,
                        float* sums, float* lane_sums, WorkItem work) {
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
