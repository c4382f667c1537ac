// The loops over groups of tiles and chunks of channels, compiled once for each set of
// instructions. kernels.h says what they do.
#pragma once

#include "custom_ops/cpu/finish.h"
#include "custom_ops/cpu/gradient_sums.h"
#include "custom_ops/cpu/kernels.h"
#include "custom_ops/cpu/lanes.h"
#include "custom_ops/cpu/segments.h"
#include "custom_ops/cpu/tile_pixels.h"
#include "custom_ops/cpu/vector.h"
#include "custom_ops/cpu/work_buffer.h"

namespace keras_sparse::KERAS_SPARSE_INSTRUCTIONS {

inline OutputChannels OutputsOf(const LatticeTables& t, int32_t part) {
  return {t.part_outputs[part], t.part_outputs[part + 1] - t.part_outputs[part]};
}

// A chunk of the input channels of a group of tiles.
template <class Elements>
__attribute__((noinline)) void Pack(const LatticeTables& t,
                                    const WorkBuffer<typename Elements::Value>& buffer,
                                    int32_t chunk) {
  const int64_t first = static_cast<int64_t>(chunk) * t.chunk_channels,
                left = t.in_channels - first;
  const int64_t channels = left < t.chunk_channels ? left : t.chunk_channels;
  // Tiles follow each other in memory, so the next group's pixels lie as far behind this one's.
  // Where they do not (at the end of a row that tiles do not fill), nothing is lost but the
  // prefetch.
  const uint32_t height = t.tile_h * t.in_step_y, width = t.tile_w * t.in_step_x;
  const int64_t next_group = int64_t{kLanes} * height * width * t.in_channels + first;
  for (int32_t i = 0; i < t.pixels; ++i) {
    const typename Elements::Value* const* pixels = buffer.inputs + i * kLanes;
    if (static_cast<uint32_t>(t.dy[i]) < height && static_cast<uint32_t>(t.dx[i]) < width)
      PrefetchPixels(pixels, next_group, channels);
    ToLanes<Elements>(pixels, first, channels, buffer.packed + t.slot[i] * kLanes,
                      static_cast<int64_t>(t.slots) * kLanes);
  }
}

// The output gradient of a group of tiles, where the sums of a product lie.
template <class Elements>
__attribute__((noinline)) void PackGradient(const LatticeTables& t, const OutputChannels& part,
                                            const typename Elements::Value* const* pixels,
                                            float* packed) {
  const int64_t tile = int64_t{t.tile_h} * t.tile_w, pitch = tile * kLanes;
  for (int64_t i = 0; i < tile; ++i, pixels += kLanes) {
    PrefetchPixels(pixels, pitch * t.out_channels + part.first, part.count);
    ToLanes<Elements>(pixels, part.first, part.count, packed + i * kLanes, pitch);
  }
}

// The sums of a group of tiles, with what is added, to their places.
template <class Elements, bool kStream>
__attribute__((noinline)) void Unpack(const LatticeTables& t, const OutputChannels& part,
                                      const float* sums, typename Elements::Value* const* pixels,
                                      const typename Elements::Value* const* addends) {
  const int64_t tile = int64_t{t.tile_h} * t.tile_w, pitch = tile * kLanes;
  for (int64_t i = 0; i < tile; ++i)
    FromLanes<Elements, kStream>(sums + i * kLanes, pitch, part.first, part.count,
                                 pixels + i * kLanes,
                                 addends == nullptr ? nullptr : addends + i * kLanes);
}

// --- one work item

template <class Value>
KS_INLINE Chunk ChunkOf(const LatticeTables& t, const WorkBuffer<Value>& buffer, int64_t list,
                        int64_t floats_before_part) {
  return {t.segments + t.first_segment[list],
          t.segments + t.first_segment[list + 1],
          buffer.packed,
          int64_t{t.row_stride} * kVectorBytes,
          t.offsets + t.first_active[list],
          buffer.sums - floats_before_part};
}

template <class Elements, int H, int W>
void Multiply(const LatticeTables& t, const typename Elements::Value* inputs, const float* weights,
              typename Elements::Value* outputs, WorkItem work) {
  const WorkBuffer<typename Elements::Value> buffer(t, work.part, work.buffer);
  const int64_t zeros = t.in_channels > t.out_channels ? t.in_channels : t.out_channels;
  for (int64_t i = 0; i < zeros; ++i) buffer.zeros[i] = 0;
  const OutputChannels part = OutputsOf(t, work.part);
  constexpr int64_t kTile = H * W * kLanes;
  const bool stream = Streams<Elements>(t, part, outputs);
  TilePixels tiles;
  for (int64_t group = work.first_group; group < work.end_group; ++group) {
    FindTiles(t, group, tiles);
    FindInputs<typename Elements::Value>(t, tiles, inputs, buffer.zeros, buffer.inputs);
    const auto addends = FindAddends<typename Elements::Value>(t, tiles, part, work.epilogue.addend,
                                                               buffer.zeros, buffer.addends);
    for (int32_t chunk = 0; chunk < t.chunks; ++chunk) {
      const int64_t list = int64_t{work.part} * t.chunks + chunk;
      if (t.first_active[list] < t.first_active[list + 1]) Pack<Elements>(t, buffer, chunk);
      const Chunk segments = ChunkOf(t, buffer, list, part.first * kTile);
      if (chunk == 0) {
        MultiplyChunk<H, W, true>(segments, weights + t.first_active[list]);
      } else {
        MultiplyChunk<H, W, false>(segments, weights + t.first_active[list]);
      }
    }
    Finish(work.epilogue, part, kTile, buffer.sums);
    FindOutputs(t, tiles, outputs, buffer.outside, buffer.outputs);
    if (stream) {
      Unpack<Elements, true>(t, part, buffer.sums, buffer.outputs, addends);
    } else {
      Unpack<Elements, false>(t, part, buffer.sums, buffer.outputs, addends);
    }
  }
  if (stream) EndOfStream();
}

template <class Elements, int H, int W>
void Gradient(const LatticeTables& t, const typename Elements::Value* inputs,
              const typename Elements::Value* output_gradient, float* sums, float* lane_sums,
              WorkItem work) {
  using Value = typename Elements::Value;
  const WorkBuffer<Value> buffer(t, work.part, work.buffer);
  const int64_t zeros = t.in_channels > t.out_channels ? t.in_channels : t.out_channels;
  for (int64_t i = 0; i < zeros; ++i) buffer.zeros[i] = 0;
  const OutputChannels part = OutputsOf(t, work.part);
  const int64_t first_of_part = t.first_active[int64_t{work.part} * t.chunks];
  constexpr int64_t kTile = H * W * kLanes;
  TilePixels tiles;
  for (int64_t group = work.first_group; group < work.end_group; ++group) {
    FindTiles(t, group, tiles);
    FindInputs<Value>(t, tiles, inputs, buffer.zeros, buffer.inputs);
    const Value** gradients = const_cast<const Value**>(buffer.outputs);
    FindOutputs<const Value>(t, tiles, output_gradient, buffer.zeros, gradients);
    PackGradient<Elements>(t, part, gradients, buffer.sums);
    for (int32_t chunk = 0; chunk < t.chunks; ++chunk) {
      const int64_t list = int64_t{work.part} * t.chunks + chunk;
      if (t.first_active[list] == t.first_active[list + 1]) continue;
      Pack<Elements>(t, buffer, chunk);
      const Chunk segments = ChunkOf(t, buffer, list, part.first * kTile);
      const int64_t first = t.first_active[list];
      if (lane_sums != nullptr) {
        GradientChunk<H, W, true>(segments, lane_sums + (first - first_of_part) * kLanes);
      } else {
        GradientSums<H, W>(segments, buffer.products, sums + first);
      }
    }
  }
  if (lane_sums != nullptr) SumLanes(t, work.part, lane_sums, sums);
}

// Both gradients of a convolution by one pass over its output gradient: `gradients` are the inputs
// of the forward product, where the input gradient's pixels lie.
template <class Elements, int H, int W>
void BothGradients(const LatticeTables& t, const typename Elements::Value* output_gradient,
                   const float* weights, const typename Elements::Value* inputs,
                   typename Elements::Value* input_gradient, float* sums, float* lane_sums,
                   WorkItem work) {
  using Value = typename Elements::Value;
  const WorkBuffer<Value> buffer(t, work.part, work.buffer);
  const int64_t zeros = t.in_channels > t.out_channels ? t.in_channels : t.out_channels;
  for (int64_t i = 0; i < zeros; ++i) buffer.zeros[i] = 0;
  const OutputChannels part = OutputsOf(t, work.part);
  const int64_t first_of_part = t.first_active[int64_t{work.part} * t.chunks];
  constexpr int64_t kTile = H * W * kLanes;
  const bool stream = Streams<Elements>(t, part, input_gradient);
  TilePixels tiles;
  for (int64_t group = work.first_group; group < work.end_group; ++group) {
    FindTiles(t, group, tiles);
    FindInputs<Value>(t, tiles, output_gradient, buffer.zeros, buffer.inputs);
    const Value** own = const_cast<const Value**>(buffer.outputs);
    FindOutputs<const Value>(t, tiles, inputs, buffer.zeros, own);
    PackGradient<Elements>(t, part, own, buffer.others);
    const auto addends =
        FindAddends<Value>(t, tiles, part, work.epilogue.addend, buffer.zeros, buffer.addends);
    for (int32_t chunk = 0; chunk < t.chunks; ++chunk) {
      const int64_t list = int64_t{work.part} * t.chunks + chunk, first = t.first_active[list];
      const bool is_empty = first == t.first_active[list + 1];
      if (!is_empty) Pack<Elements>(t, buffer, chunk);
      Chunk segments = ChunkOf(t, buffer, list, part.first * kTile);
      if (chunk == 0) {
        MultiplyChunk<H, W, true>(segments, weights + first);
      } else {
        MultiplyChunk<H, W, false>(segments, weights + first);
      }
      if (is_empty) continue;
      segments.sums = buffer.others - part.first * kTile;
      if (lane_sums != nullptr) {
        GradientChunk<H, W, true>(segments, lane_sums + (first - first_of_part) * kLanes);
      } else {
        GradientSums<H, W>(segments, buffer.products, sums + first);
      }
    }
    FindOutputs(t, tiles, input_gradient, buffer.outside, buffer.outputs);
    if (stream) {
      Unpack<Elements, true>(t, part, buffer.sums, buffer.outputs, addends);
    } else {
      Unpack<Elements, false>(t, part, buffer.sums, buffer.outputs, addends);
    }
  }
  if (stream) EndOfStream();
  if (lane_sums != nullptr) SumLanes(t, work.part, lane_sums, sums);
}

// --- which loop is for a tile

constexpr int kMaxSums = kLanes == 16 ? 16 : 12;

template <class Elements>
void MultiplyAny(const LatticeTables& t, const void* inputs, const float* weights, void* outputs,
                 WorkItem work) {
  using Value = typename Elements::Value;
  switch (t.tile_h * 100 + t.tile_w) {
#define KS_CASE(H, W)                                                              \
  case H * 100 + W:                                                                \
    return Multiply<Elements, H, W>(t, static_cast<const Value*>(inputs), weights, \
                                    static_cast<Value*>(outputs), work);
    KS_FOR_TILES(KS_CASE)
#undef KS_CASE
  }
  __builtin_trap();  // a plan chooses from the same list
}

template <class Elements>
void GradientAny(const LatticeTables& t, const void* inputs, const void* output_gradient,
                 float* sums, float* lane_sums, WorkItem work) {
  using Value = typename Elements::Value;
  switch (t.tile_h * 100 + t.tile_w) {
#define KS_CASE(H, W)                                                                            \
  case H * 100 + W:                                                                              \
    return Gradient<Elements, H, W>(t, static_cast<const Value*>(inputs),                        \
                                    static_cast<const Value*>(output_gradient), sums, lane_sums, \
                                    work);
    KS_FOR_TILES(KS_CASE)
#undef KS_CASE
  }
  __builtin_trap();
}

template <class Elements>
void BothGradientsAny(const LatticeTables& t, const void* output_gradient, const float* weights,
                      const void* inputs, void* input_gradient, float* sums, float* lane_sums,
                      WorkItem work) {
  using Value = typename Elements::Value;
  switch (t.tile_h * 100 + t.tile_w) {
#define KS_CASE(H, W)                                                                              \
  case H * 100 + W:                                                                                \
    return BothGradients<Elements, H, W>(                                                          \
        t, static_cast<const Value*>(output_gradient), weights, static_cast<const Value*>(inputs), \
        static_cast<Value*>(input_gradient), sums, lane_sums, work);
    KS_FOR_TILES(KS_CASE)
#undef KS_CASE
  }
  __builtin_trap();
}

}  // namespace keras_sparse::KERAS_SPARSE_INSTRUCTIONS
