// The loops over groups of tiles for masks of blocks, compiled once for each set of instructions.
// block_tables.h says what they do.
#pragma once

#include "custom_ops/cpu/block_segments.h"
#include "custom_ops/cpu/block_tables.h"
#include "custom_ops/cpu/lanes.h"
#include "custom_ops/cpu/tile_pixels.h"
#include "custom_ops/cpu/vector.h"

namespace keras_sparse::KERAS_SPARSE_INSTRUCTIONS {

// The memory that one work item uses, beside its inputs and outputs.
struct BlockBuffer {
  float *zeros, *outside, *packed, *sums;
  const float** inputs;
  float** outputs;
  int64_t packed_floats, gradient_floats;  // from a channel of packed pixels, or sums, to the next
  int64_t floats;

  BlockBuffer(const BlockTables& b, int32_t part, float* memory) {
    const LatticeTables& t = b.tile;
    const int64_t tile = int64_t{t.tile_h} * t.tile_w;
    const int64_t outputs_of_part =
        int64_t{b.part_outputs[part + 1] - b.part_outputs[part]} * b.block.outputs;
    float* next = memory;
    const auto take = [&next](int64_t count) {
      float* taken = next;
      next += (count + 15) / 16 * 16;
      return taken;
    };
    packed_floats = (t.slots | 1) * kLanes;  // odd: channels lie in different places of a cache
    gradient_floats = (tile | 1) * kLanes;
    zeros = take(t.in_channels > t.out_channels ? t.in_channels : t.out_channels);
    outside = take(t.out_channels);
    packed = take(int64_t{b.summed_blocks} * b.block.summed * packed_floats);
    const int64_t most = MostPixels(b.block.outputs) * kLanes;
    sums = take(outputs_of_part * (gradient_floats > most ? gradient_floats : most));
    inputs = reinterpret_cast<const float**>(take(int64_t{t.pixels} * kLanes * 2));
    outputs = reinterpret_cast<float**>(take(tile * kLanes * 2));
    floats = next - memory;
  }
};

inline int64_t BlockBufferFloats(const BlockTables& tables, int32_t part) {
  return BlockBuffer(tables, part, nullptr).floats;
}

KS_INLINE void FillWithZeros(float* begin, float* end) {
  for (; begin != end; ++begin) *begin = 0;
}

// Once per work item: what no tile writes.
KS_INLINE void BeginBlocks(const BlockTables& b, const BlockBuffer& buffer) {
  const LatticeTables& t = b.tile;
  FillWithZeros(buffer.zeros, buffer.outside);
  FillWithZeros(buffer.packed + t.in_channels * buffer.packed_floats,
                buffer.packed + int64_t{b.summed_blocks} * b.block.summed * buffer.packed_floats);
}

KS_INLINE void PackTiles(const LatticeTables& t, const BlockBuffer& buffer) {
  for (int32_t i = 0; i < t.pixels; ++i)
    ToLanes(buffer.inputs + i * kLanes, 0, t.in_channels, buffer.packed + t.slot[i] * kLanes,
            buffer.packed_floats);
}

KS_INLINE BlockSegments SegmentsOf(const BlockTables& b, const BlockBuffer& buffer, int32_t part) {
  return {b.segments + b.first_segment[part], b.segments + b.first_segment[part + 1],
          b.offsets + b.first_active[part],
          buffer.packed_floats * static_cast<int64_t>(sizeof(float))};
}

// Output channels of a part.
struct PartChannels {
  int64_t first, count;
};

KS_INLINE PartChannels ChannelsOf(const BlockTables& b, int32_t part) {
  const int64_t first = int64_t{b.part_outputs[part]} * b.block.outputs,
                end = int64_t{b.part_outputs[part + 1]} * b.block.outputs;
  return {first, (end < b.tile.out_channels ? end : b.tile.out_channels) - first};
}

template <int S, int O>
KS_INLINE void MultiplyPixels(int pixels, const BlockSegments& segments, const float* packed,
                              const float* weights, float* sums) {
  switch (pixels) {
#define KS_CASE(P)                                                     \
  case P:                                                              \
    if constexpr (P <= MostPixels(O))                                  \
      return MultiplyBlocks<S, O, P>(segments, packed, weights, sums); \
    break;
    KS_CASE(1) KS_CASE(2) KS_CASE(3) KS_CASE(4) KS_CASE(5) KS_CASE(6) KS_CASE(7) KS_CASE(8)
#undef KS_CASE
  }
  __builtin_trap();
}

template <int S, int O>
void MultiplyTiles(const BlockTables& b, const float* inputs, const float* weights, float* outputs,
                   WorkItem work) {
  const LatticeTables& t = b.tile;
  const BlockBuffer buffer(b, work.part, work.buffer);
  BeginBlocks(b, buffer);
  const BlockSegments segments = SegmentsOf(b, buffer, work.part);
  weights += b.first_active[work.part] * (S * O);
  const PartChannels channels = ChannelsOf(b, work.part);
  const bool stream = Streams(t, outputs);
  const int32_t cuts = (t.tile_w + MostPixels(O) - 1) / MostPixels(O);
  TilePixels tiles;
  for (int64_t group = work.first_group; group < work.end_group; ++group) {
    FindTiles(t, group, tiles);
    FindInputs(t, tiles, inputs, buffer.zeros, buffer.inputs);
    PackTiles(t, buffer);
    FindOutputs(t, tiles, outputs, buffer.outside, buffer.outputs);
    for (int32_t y = 0; y < t.tile_h; ++y)
      for (int32_t cut = 0; cut < cuts; ++cut) {
        const int32_t x = t.tile_w * cut / cuts, pixels = t.tile_w * (cut + 1) / cuts - x;
        const float* packed = buffer.packed + (int64_t{y} * t.row_stride + x) * kLanes;
        MultiplyPixels<S, O>(pixels, segments, packed, weights, buffer.sums);
        for (int32_t i = 0; i < pixels; ++i) {
          const float* sums = buffer.sums + i * kLanes;
          float* const* pixel = buffer.outputs + (y * t.tile_w + x + i) * kLanes;
          if (stream) {
            FromLanes<true>(sums, pixels * kLanes, channels.first, channels.count, pixel);
          } else {
            FromLanes<false>(sums, pixels * kLanes, channels.first, channels.count, pixel);
          }
        }
      }
  }
  if (stream) EndOfStream();
}

template <int S, int O>
void GradientTiles(const BlockTables& b, const float* inputs, const float* output_gradient,
                   float* sums, WorkItem work) {
  const LatticeTables& t = b.tile;
  const BlockBuffer buffer(b, work.part, work.buffer);
  BeginBlocks(b, buffer);
  const BlockSegments segments = SegmentsOf(b, buffer, work.part);
  const PartChannels channels = ChannelsOf(b, work.part);
  FillWithZeros(buffer.sums + channels.count * buffer.gradient_floats,
                buffer.sums + (channels.count + O - 1) / O * O * buffer.gradient_floats);
  TilePixels tiles;
  for (int64_t group = work.first_group; group < work.end_group; ++group) {
    FindTiles(t, group, tiles);
    FindInputs(t, tiles, inputs, buffer.zeros, buffer.inputs);
    PackTiles(t, buffer);
    const float** gradients = const_cast<const float**>(buffer.outputs);
    FindOutputs<const float>(t, tiles, output_gradient, buffer.zeros, gradients);
    for (int i = 0; i < t.tile_h * t.tile_w; ++i)
      ToLanes(gradients + i * kLanes, channels.first, channels.count, buffer.sums + i * kLanes,
              buffer.gradient_floats);
    const float* first = buffer.sums - channels.first * buffer.gradient_floats;
    GradientBlocks<S, O>(segments,
                         {buffer.packed, first, t.tile_h, t.tile_w,
                          int64_t{t.row_stride} * kVectorBytes, buffer.gradient_floats},
                         sums + b.first_active[work.part] * (S * O));
  }
}

inline void MultiplyTilesAny(const BlockTables& b, const float* inputs, const float* weights,
                             float* outputs, WorkItem work) {
#define KS_CASE(S, O)                              \
  if (b.block.summed == S && b.block.outputs == O) \
    return MultiplyTiles<S, O>(b, inputs, weights, outputs, work);
  KS_FOR_BLOCKS(KS_CASE)
#undef KS_CASE
  __builtin_trap();  // a plan chooses from the same list
}

inline void GradientTilesAny(const BlockTables& b, const float* inputs,
                             const float* output_gradient, float* sums, WorkItem work) {
#define KS_CASE(S, O)                              \
  if (b.block.summed == S && b.block.outputs == O) \
    return GradientTiles<S, O>(b, inputs, output_gradient, sums, work);
  KS_FOR_BLOCKS(KS_CASE)
#undef KS_CASE
  __builtin_trap();
}

}  // namespace keras_sparse::KERAS_SPARSE_INSTRUCTIONS
