// The loops over groups of tiles for blocks of 4 x 4 weights in bfloat16 on processors with AMX:
// what block_loops.h is for vectors.
#pragma once

#include "custom_ops/cpu/amx_packing.h"
#include "custom_ops/cpu/finish.h"

namespace keras_sparse::KERAS_SPARSE_INSTRUCTIONS::amx {

// Processors with AMX round two vectors by one instruction.
struct RoundedByOne : BFloat16 {
  KS_INLINE static Vector Narrow(const Vector* channels) {
    const __m512i one_after_the_other =
        _mm512_set_epi16(31, 15, 30, 14, 29, 13, 28, 12, 27, 11, 26, 10, 25, 9, 24, 8, 23, 7, 22, 6,
                         21, 5, 20, 4, 19, 3, 18, 2, 17, 1, 16, 0);
    const __m512i rounded = (__m512i)_mm512_cvtne2ps_pbh((__m512)channels[1], (__m512)channels[0]);
    return (Vector)_mm512_maskz_permutexvar_epi16(0xffffffff, one_after_the_other, rounded);
  }
};

// The sums of pixels side by side, to their places.
template <bool kStream>
__attribute__((noinline)) void UnpackPixels(const OutputChannels& channels, const float* sums,
                                            int32_t pixels, Pixel* const* pixel,
                                            const Pixel* const* addend) {
  for (int32_t i = 0; i < pixels; ++i)
    FromLanes<RoundedByOne, kStream>(sums + i * kLanes, pixels * kLanes, channels.first,
                                     channels.count, pixel + i * kLanes,
                                     addend == nullptr ? nullptr : addend + i * kLanes);
}

KS_INLINE void MultiplyPixels(const Item& item, int pixels, const char* packed) {
  const MatrixBuffer& buffer = item.buffer;
  switch (pixels) {
#define KS_CASE(P) \
  case P:          \
    return MultiplyBlocks<P>(item.segments, packed, buffer.weights, buffer.copied, buffer.sums);
    KS_CASE(1) KS_CASE(2) KS_CASE(3) KS_CASE(4)
#undef KS_CASE
  }
  __builtin_trap();
}

// A group of tiles that is packed, to `outputs`.
KS_INLINE void MultiplyTile(const Item& item, const TilePixels& tiles, Pixel* outputs,
                            const Epilogue& epilogue, bool stream) {
  const LatticeTables& t = item.b.tile;
  const MatrixBuffer& buffer = item.buffer;
  FindOutputs(t, tiles, outputs, buffer.outside, buffer.outputs);
  const auto addends =
      FindAddends<Pixel>(t, tiles, item.channels, epilogue.addend, buffer.zeros, buffer.addends);
  BeginProducts();
  const int32_t cuts = (t.tile_w + kMostPixels - 1) / kMostPixels;
  for (int32_t y = 0; y < t.tile_h; ++y)
    for (int32_t cut = 0; cut < cuts; ++cut) {
      const int32_t x = t.tile_w * cut / cuts, pixels = t.tile_w * (cut + 1) / cuts - x;
      MultiplyPixels(item, pixels, buffer.packed + (int64_t{y} * t.row_stride + x) * kBlockBytes);
      Finish(epilogue, item.channels, int64_t{pixels} * kLanes, buffer.sums);
      const int32_t first = (y * t.tile_w + x) * kLanes;
      const auto addend = addends == nullptr ? nullptr : addends + first;
      if (stream) {
        UnpackPixels<true>(item.channels, buffer.sums, pixels, buffer.outputs + first, addend);
      } else {
        UnpackPixels<false>(item.channels, buffer.sums, pixels, buffer.outputs + first, addend);
      }
    }
}

// A group of tiles that is packed, with its output gradients.
KS_INLINE void GradientTile(const Item& item, const TilePixels& tiles, const Pixel* gradients,
                            float* sums) {
  const LatticeTables& t = item.b.tile;
  FindOutputs<const Pixel>(t, tiles, gradients, item.buffer.zeros,
                           const_cast<const Pixel**>(item.buffer.outputs));
  PackGradients(t, item.channels, item.buffer);
  BeginGradients();
  GradientBlocks(item.segments,
                 {item.buffer.rows, item.buffer.pairs, t.tile_h, t.tile_w / 2,
                  int64_t{t.row_stride} * kSlotBytes},
                 item.first_block, item.buffer.copied, sums);
}

inline void MultiplyTiles(const BlockTables& b, const void* inputs, const float* weights,
                          void* outputs, WorkItem work) {
  const LatticeTables& t = b.tile;
  const KeptSizes kept;
  const Item item(b, work);
  const MatrixBuffer& buffer = item.buffer;
  WeightsInMatrices(item.segments, weights + b.first_active[work.part] * (kSide * kSide),
                    buffer.weights);
  const auto to = static_cast<Pixel*>(outputs);
  const bool stream = Streams<BFloat16>(t, item.channels, to);
  TilePixels tiles;
  for (int64_t group = work.first_group; group < work.end_group; ++group) {
    FindTiles(t, group, tiles);
    FindInputs(t, tiles, static_cast<const Pixel*>(inputs), buffer.zeros, buffer.inputs);
    PackPixels<true, false>(t, buffer);
    MultiplyTile(item, tiles, to, work.epilogue, stream);
  }
  if (stream) EndOfStream();
}

inline void GradientTiles(const BlockTables& b, const void* inputs, const void* output_gradient,
                          float* sums, WorkItem work) {
  const LatticeTables& t = b.tile;
  const KeptSizes kept;
  const Item item(b, work);
  const MatrixBuffer& buffer = item.buffer;
  TilePixels tiles;
  for (int64_t group = work.first_group; group < work.end_group; ++group) {
    FindTiles(t, group, tiles);
    FindInputs(t, tiles, static_cast<const Pixel*>(inputs), buffer.zeros, buffer.inputs);
    PackPixels<false, true>(t, buffer);
    GradientTile(item, tiles, static_cast<const Pixel*>(output_gradient),
                 sums + b.first_active[work.part] * (kSide * kSide));
  }
}

inline void BothGradientsTiles(const BlockTables& b, const void* output_gradient,
                               const float* weights, const void* inputs, void* input_gradient,
                               float* sums, WorkItem work) {
  const LatticeTables& t = b.tile;
  const KeptSizes kept;
  const Item item(b, work);
  const MatrixBuffer& buffer = item.buffer;
  const int64_t first = b.first_active[work.part] * (kSide * kSide);
  WeightsInMatrices(item.segments, weights + first, buffer.weights);
  const auto to = static_cast<Pixel*>(input_gradient);
  const bool stream = Streams<BFloat16>(t, item.channels, to);
  TilePixels tiles;
  for (int64_t group = work.first_group; group < work.end_group; ++group) {
    FindTiles(t, group, tiles);
    FindInputs(t, tiles, static_cast<const Pixel*>(output_gradient), buffer.zeros, buffer.inputs);
    PackPixels<true, true>(t, buffer);
    GradientTile(item, tiles, static_cast<const Pixel*>(inputs), sums + first);
    MultiplyTile(item, tiles, to, work.epilogue, stream);
  }
  if (stream) EndOfStream();
}

}  // namespace keras_sparse::KERAS_SPARSE_INSTRUCTIONS::amx
