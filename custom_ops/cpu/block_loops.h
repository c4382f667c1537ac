// The loops over groups of tiles for masks of blocks, compiled once for each set of instructions.
// block_tables.h says what they do.
#pragma once

#include "custom_ops/cpu/block_segments.h"
#include "custom_ops/cpu/block_tables.h"
#include "custom_ops/cpu/finish.h"
#include "custom_ops/cpu/lanes.h"
#include "custom_ops/cpu/tile_pixels.h"
#include "custom_ops/cpu/vector.h"

namespace keras_sparse::KERAS_SPARSE_INSTRUCTIONS {

// The memory that one work item uses, beside its inputs and outputs.
// `Value`: what inputs and outputs consist of. A float has room for any.
template <class Value>
struct BlockBuffer {
  Value *zeros, *outside;
  float *packed, *sums, *others;
  const Value **inputs, **addends;
  Value** outputs;
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
    zeros = reinterpret_cast<Value*>(
        take(t.in_channels > t.out_channels ? t.in_channels : t.out_channels));
    outside = reinterpret_cast<Value*>(take(t.out_channels));
    packed = take(int64_t{b.summed_blocks} * b.block.summed * packed_floats);
    const int64_t most = MostPixels(b.block.outputs) * kLanes;
    sums = take(outputs_of_part * (gradient_floats > most ? gradient_floats : most));
    others = take(outputs_of_part * gradient_floats);
    inputs = reinterpret_cast<const Value**>(take(int64_t{t.pixels} * kLanes * 2));
    outputs = reinterpret_cast<Value**>(take(tile * kLanes * 2));
    addends = reinterpret_cast<const Value**>(take(tile * kLanes * 2));
    floats = next - memory;
  }
};

inline int64_t BlockBufferFloats(const BlockTables& tables, int32_t part) {
  return BlockBuffer<float>(tables, part, nullptr).floats;
}

template <class Value>
KS_INLINE void FillWithZeros(Value* begin, Value* end) {
  for (; begin != end; ++begin) *begin = 0;
}

// Once per work item: what no tile writes.
template <class Value>
KS_INLINE void BeginBlocks(const BlockTables& b, const BlockBuffer<Value>& buffer) {
  const LatticeTables& t = b.tile;
  FillWithZeros(buffer.zeros, buffer.outside);
  FillWithZeros(buffer.packed + t.in_channels * buffer.packed_floats,
                buffer.packed + int64_t{b.summed_blocks} * b.block.summed * buffer.packed_floats);
}

template <class Elements>
__attribute__((noinline)) void PackTiles(const LatticeTables& t,
                                         const BlockBuffer<typename Elements::Value>& buffer) {
  for (int32_t i = 0; i < t.pixels; ++i)
    ToLanes<Elements>(buffer.inputs + i * kLanes, 0, t.in_channels,
                      buffer.packed + t.slot[i] * kLanes, buffer.packed_floats);
}

// The output gradient of a group of tiles.
template <class Elements>
__attribute__((noinline)) void PackGradientTiles(
    const LatticeTables& t, const OutputChannels& channels,
    const BlockBuffer<typename Elements::Value>& buffer, float* packed) {
  for (int i = 0; i < t.tile_h * t.tile_w; ++i)
    ToLanes<Elements>(buffer.outputs + i * kLanes, channels.first, channels.count,
                      packed + i * kLanes, buffer.gradient_floats);
}

// The sums of pixels side by side, to their places.
template <class Elements, bool kStream>
__attribute__((noinline)) void UnpackPixels(const OutputChannels& channels, const float* sums,
                                            int32_t pixels, typename Elements::Value* const* pixel,
                                            const typename Elements::Value* const* addend) {
  for (int32_t i = 0; i < pixels; ++i)
    FromLanes<Elements, kStream>(sums + i * kLanes, pixels * kLanes, channels.first, channels.count,
                                 pixel + i * kLanes,
                                 addend == nullptr ? nullptr : addend + i * kLanes);
}

template <class Value>
KS_INLINE BlockSegments SegmentsOf(const BlockTables& b, const BlockBuffer<Value>& buffer,
                                   int32_t part) {
  return {b.segments + b.first_segment[part], b.segments + b.first_segment[part + 1],
          b.offsets + b.first_active[part],
          buffer.packed_floats * static_cast<int64_t>(sizeof(float))};
}

KS_INLINE OutputChannels ChannelsOf(const BlockTables& b, int32_t part) {
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

// A group of tiles that is packed, to the pixels of buffer.outputs, with those of `addends`.
template <class Elements, int S, int O>
KS_INLINE void MultiplyTile(const BlockTables& b,
                            const BlockBuffer<typename Elements::Value>& buffer,
                            const BlockSegments& segments, const float* weights,
                            const OutputChannels& channels, const Epilogue& epilogue,
                            const typename Elements::Value* const* addends, bool stream) {
  const LatticeTables& t = b.tile;
  const int32_t cuts = (t.tile_w + MostPixels(O) - 1) / MostPixels(O);
  for (int32_t y = 0; y < t.tile_h; ++y)
    for (int32_t cut = 0; cut < cuts; ++cut) {
      const int32_t x = t.tile_w * cut / cuts, pixels = t.tile_w * (cut + 1) / cuts - x;
      const float* packed = buffer.packed + (int64_t{y} * t.row_stride + x) * kLanes;
      MultiplyPixels<S, O>(pixels, segments, packed, weights, buffer.sums);
      Finish(epilogue, channels, int64_t{pixels} * kLanes, buffer.sums);
      const int32_t first = (y * t.tile_w + x) * kLanes;
      const auto pixel = buffer.outputs + first;
      const auto addend = addends == nullptr ? nullptr : addends + first;
      if (stream) {
        UnpackPixels<Elements, true>(channels, buffer.sums, pixels, pixel, addend);
      } else {
        UnpackPixels<Elements, false>(channels, buffer.sums, pixels, pixel, addend);
      }
    }
}

template <class Elements, int S, int O>
void MultiplyTiles(const BlockTables& b, const typename Elements::Value* inputs,
                   const float* weights, typename Elements::Value* outputs, WorkItem work) {
  const LatticeTables& t = b.tile;
  const BlockBuffer<typename Elements::Value> buffer(b, work.part, work.buffer);
  BeginBlocks(b, buffer);
  const BlockSegments segments = SegmentsOf(b, buffer, work.part);
  weights += b.first_active[work.part] * (S * O);
  const OutputChannels channels = ChannelsOf(b, work.part);
  const bool stream = Streams<Elements>(t, channels, outputs);
  TilePixels tiles;
  for (int64_t group = work.first_group; group < work.end_group; ++group) {
    FindTiles(t, group, tiles);
    FindInputs<typename Elements::Value>(t, tiles, inputs, buffer.zeros, buffer.inputs);
    PackTiles<Elements>(t, buffer);
    FindOutputs(t, tiles, outputs, buffer.outside, buffer.outputs);
    const auto addends = FindAddends<typename Elements::Value>(
        t, tiles, channels, work.epilogue.addend, buffer.zeros, buffer.addends);
    MultiplyTile<Elements, S, O>(b, buffer, segments, weights, channels, work.epilogue, addends,
                                 stream);
  }
  if (stream) EndOfStream();
}

// A group of tiles that is packed, and whose output gradients are `gradients`.
template <int S, int O, class Value>
KS_INLINE void GradientTile(const BlockTables& b, const BlockBuffer<Value>& buffer,
                            const BlockSegments& segments, const OutputChannels& channels,
                            const float* gradients, float* sums) {
  const LatticeTables& t = b.tile;
  const float* first = gradients - channels.first * buffer.gradient_floats;
  for (int32_t y = 0; y < t.tile_h; y += b.strip_h) {
    const int32_t left = t.tile_h - y, height = left < b.strip_h ? left : b.strip_h;
    GradientBlocks<S, O>(
        segments,
        {buffer.packed + int64_t{y} * t.row_stride * kLanes, first + int64_t{y} * t.tile_w * kLanes,
         height, t.tile_w, int64_t{t.row_stride} * kVectorBytes, buffer.gradient_floats},
        sums);
  }
}

template <class Elements, int S, int O>
void GradientTiles(const BlockTables& b, const typename Elements::Value* inputs,
                   const typename Elements::Value* output_gradient, float* sums, WorkItem work) {
  using Value = typename Elements::Value;
  const LatticeTables& t = b.tile;
  const BlockBuffer<Value> buffer(b, work.part, work.buffer);
  BeginBlocks(b, buffer);
  const BlockSegments segments = SegmentsOf(b, buffer, work.part);
  const OutputChannels channels = ChannelsOf(b, work.part);
  FillWithZeros(buffer.sums + channels.count * buffer.gradient_floats,
                buffer.sums + (channels.count + O - 1) / O * O * buffer.gradient_floats);
  TilePixels tiles;
  for (int64_t group = work.first_group; group < work.end_group; ++group) {
    FindTiles(t, group, tiles);
    FindInputs<Value>(t, tiles, inputs, buffer.zeros, buffer.inputs);
    PackTiles<Elements>(t, buffer);
    FindOutputs<const Value>(t, tiles, output_gradient, buffer.zeros,
                             const_cast<const Value**>(buffer.outputs));
    PackGradientTiles<Elements>(t, channels, buffer, buffer.sums);
    GradientTile<S, O>(b, buffer, segments, channels, buffer.sums,
                       sums + b.first_active[work.part] * (S * O));
  }
}

// As kernels.h has it: MultiplyTiles of the output gradient, and GradientTiles of the same pixels.
template <class Elements, int S, int O>
void BothGradientsTiles(const BlockTables& b, const typename Elements::Value* output_gradient,
                        const float* weights, const typename Elements::Value* inputs,
                        typename Elements::Value* input_gradient, float* sums, WorkItem work) {
  using Value = typename Elements::Value;
  const LatticeTables& t = b.tile;
  const BlockBuffer<Value> buffer(b, work.part, work.buffer);
  BeginBlocks(b, buffer);
  const BlockSegments segments = SegmentsOf(b, buffer, work.part);
  const int64_t first = b.first_active[work.part] * (S * O);
  const OutputChannels channels = ChannelsOf(b, work.part);
  FillWithZeros(buffer.others + channels.count * buffer.gradient_floats,
                buffer.others + (channels.count + O - 1) / O * O * buffer.gradient_floats);
  const bool stream = Streams<Elements>(t, channels, input_gradient);
  TilePixels tiles;
  for (int64_t group = work.first_group; group < work.end_group; ++group) {
    FindTiles(t, group, tiles);
    FindInputs<Value>(t, tiles, output_gradient, buffer.zeros, buffer.inputs);
    PackTiles<Elements>(t, buffer);
    FindOutputs<const Value>(t, tiles, inputs, buffer.zeros,
                             const_cast<const Value**>(buffer.outputs));
    PackGradientTiles<Elements>(t, channels, buffer, buffer.others);
    GradientTile<S, O>(b, buffer, segments, channels, buffer.others, sums + first);
    FindOutputs(t, tiles, input_gradient, buffer.outside, buffer.outputs);
    const auto addends =
        FindAddends<Value>(t, tiles, channels, work.epilogue.addend, buffer.zeros, buffer.addends);
    MultiplyTile<Elements, S, O>(b, buffer, segments, weights + first, channels, work.epilogue,
                                 addends, stream);
  }
  if (stream) EndOfStream();
}

template <class Elements>
void MultiplyTilesAny(const BlockTables& b, const void* inputs, const float* weights, void* outputs,
                      WorkItem work) {
  using Value = typename Elements::Value;
#define KS_CASE(S, O)                                                                   \
  if (b.block.summed == S && b.block.outputs == O)                                      \
    return MultiplyTiles<Elements, S, O>(b, static_cast<const Value*>(inputs), weights, \
                                         static_cast<Value*>(outputs), work);
  KS_FOR_BLOCKS(KS_CASE)
#undef KS_CASE
  __builtin_trap();  // a plan chooses from the same list
}

template <class Elements>
void GradientTilesAny(const BlockTables& b, const void* inputs, const void* output_gradient,
                      float* sums, WorkItem work) {
  using Value = typename Elements::Value;
#define KS_CASE(S, O)                                                          \
  if (b.block.summed == S && b.block.outputs == O)                             \
    return GradientTiles<Elements, S, O>(b, static_cast<const Value*>(inputs), \
                                         static_cast<const Value*>(output_gradient), sums, work);
  KS_FOR_BLOCKS(KS_CASE)
#undef KS_CASE
  __builtin_trap();
}

template <class Elements>
void BothGradientsTilesAny(const BlockTables& b, const void* output_gradient, const float* weights,
                           const void* inputs, void* input_gradient, float* sums, WorkItem work) {
  using Value = typename Elements::Value;
#define KS_CASE(S, O)                                                                        \
  if (b.block.summed == S && b.block.outputs == O)                                           \
    return BothGradientsTiles<Elements, S, O>(b, static_cast<const Value*>(output_gradient), \
                                              weights, static_cast<const Value*>(inputs),    \
                                              static_cast<Value*>(input_gradient), sums, work);
  KS_FOR_BLOCKS(KS_CASE)
#undef KS_CASE
  __builtin_trap();
}

}  // namespace keras_sparse::KERAS_SPARSE_INSTRUCTIONS
