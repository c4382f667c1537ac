// Products of active blocks of 4 x 4 weights in bfloat16, for processors with AMX: a matrix
// instruction multiplies up to 8 blocks by 16 lanes.
//
// The packed pixels are [summed block][slot][pair of channels][lane][channel of the pair]: a block
// and a slot are kBlockBytes. A matrix has no list of addresses: pixels of 8 blocks are copied side
// by side, while the copies before are multiplied.
#pragma once

#include "custom_ops/cpu/amx_registers.h"
#include "custom_ops/cpu/block_segments.h"
#include "custom_ops/cpu/elements.h"

namespace keras_sparse::KERAS_SPARSE_INSTRUCTIONS::amx {

// Products: sums in 0 to 3; weights and pixels in 4 and 5, those of up to 4 blocks in 6 and 7.
KS_INLINE void BeginProducts() {
  MatrixSizes sizes;
  for (int i = 0; i < kMostPixels; ++i) sizes.Set(i, kSide, kLine);
  sizes.Set(4, kSide, kLine), sizes.Set(5, 2 * kBlocksAtOnce, kLine);
  sizes.Set(6, kSide, kLine / 2), sizes.Set(7, kBlocksAtOnce, kLine);
  Load(sizes);
}

// Pixels of up to 8 blocks, a matrix for each of P pixels side by side; zeros for the blocks that
// are missing of 4 or 8.
template <int P>
KS_INLINE void CopyPixels(const int32_t* offsets, int32_t count, const char* packed, char* to) {
  for (int32_t b = 0; b < count; ++b, to += kBlockBytes) {
    const char* from = packed + offsets[b];
#pragma GCC unroll 4
    for (int p = 0; p < P; ++p) {
      CopyLine(to + p * kCopyBytes, from + p * kBlockBytes);
      CopyLine(to + p * kCopyBytes + kLine, from + p * kBlockBytes + kLine);
    }
  }
  for (int32_t b = count; b < (count <= 4 ? 4 : 8); ++b, to += kBlockBytes)
    for (int p = 0; p < P; ++p) std::memset(to + p * kCopyBytes, 0, kBlockBytes);
}

// sums of P pixels += weights of 8 blocks, or of 4, times their pixels.
template <int P>
KS_INLINE void MultiplyCopies(bool is_half, const char* weights, const char* pixels) {
#define KS_PIXEL(p, w, x)                           \
  if constexpr (P > p) {                            \
    _tile_loadd(x, pixels + p * kCopyBytes, kLine); \
    _tile_dpbf16ps(p, w, x);                        \
  }
  if (is_half) {
    _tile_loadd(6, weights, kLine);
    KS_PIXEL(0, 6, 7) KS_PIXEL(1, 6, 7) KS_PIXEL(2, 6, 7) KS_PIXEL(3, 6, 7)
  } else {
    _tile_loadd(4, weights, kLine);
    KS_PIXEL(0, 4, 5) KS_PIXEL(1, 4, 5) KS_PIXEL(2, 4, 5) KS_PIXEL(3, 4, 5)
  }
#undef KS_PIXEL
}

template <int P>
KS_INLINE void ZeroSums() {
  _tile_zero(0);
  if constexpr (P > 1) _tile_zero(1);
  if constexpr (P > 2) _tile_zero(2);
  if constexpr (P > 3) _tile_zero(3);
}

// [output channel][pixel][lane]
template <int P>
KS_INLINE void StoreSums(float* sums) {
  _tile_stored(0, sums, P * kLine);
  if constexpr (P > 1) _tile_stored(1, sums + kLanes, P * kLine);
  if constexpr (P > 2) _tile_stored(2, sums + 2 * kLanes, P * kLine);
  if constexpr (P > 3) _tile_stored(3, sums + 3 * kLanes, P * kLine);
}

// Copied pixels that are not multiplied yet.
struct Copies {
  const char *weights, *pixels;
  bool is_half, is_first, is_last;  // of an output block
  float* sums;
};

template <int P>
KS_INLINE void Multiply(const Copies& copies) {
  MemoryChanged();
  if (copies.is_first) ZeroSums<P>();
  MultiplyCopies<P>(copies.is_half, copies.weights, copies.pixels);
  if (copies.is_last) StoreSums<P>(copies.sums);
  MemoryChanged();
}

// As MultiplyBlocks of block_segments.h. `weights`: as WeightsInMatrices writes them.
template <int P>
__attribute__((noinline)) void MultiplyBlocks(const BlockSegments& list, const char* packed,
                                              const char* weights, char* copied, float* sums) {
  const int32_t* offsets = list.offsets;
  Copies waiting = {};
  bool has_waiting = false;
  int turn = 0;
  for (const Segment* segment = list.segments; segment != list.end;
       ++segment, sums += kSide * P * kLanes) {
    if (segment->count == 0) std::memset(sums, 0, kSide * P * kLine);
    for (int32_t done = 0; done < segment->count; done += kBlocksAtOnce) {
      const int32_t left = segment->count - done, count = left < kBlocksAtOnce ? left : 8;
      char* const to = copied + turn * (kMostPixels * kCopyBytes);
      CopyPixels<P>(offsets, count, packed, to);
      if (has_waiting) Multiply<P>(waiting);
      waiting = {weights, to, count <= 4, done == 0, left <= kBlocksAtOnce, sums};
      has_waiting = true;
      turn ^= 1, offsets += count, weights += kWeightBytes;
    }
  }
  if (has_waiting) Multiply<P>(waiting);
}

// Weights of 8 blocks become a matrix: [output channel][block][summed channel] in bfloat16.
// `weights`: [active block][summed][output].
inline void WeightsInMatrices(const BlockSegments& list, const float* weights, char* matrices) {
  const __m512i transposed = _mm512_set_epi32(15, 11, 7, 3, 14, 10, 6, 2, 13, 9, 5, 1, 12, 8, 4, 0);
  for (const Segment* segment = list.segments; segment != list.end; ++segment)
    for (int32_t done = 0; done < segment->count; done += kBlocksAtOnce, matrices += kWeightBytes) {
      std::memset(matrices, 0, kWeightBytes);
      const int32_t left = segment->count - done;
      for (int32_t b = 0; b < (left < kBlocksAtOnce ? left : kBlocksAtOnce); ++b) {
        const __m512i block =
            _mm512_maskz_permutexvar_epi32(0xffff, transposed, _mm512_loadu_si512(weights));
        const Halves rounded = BFloat16::ToHalves((Vector)block);
        uint16_t rows[kSide * kSide];
        std::memcpy(rows, &rounded, sizeof rows);
        for (int o = 0; o < kSide; ++o)
          std::memcpy(matrices + o * kLine + b * 8, rows + o * kSide, 8);
        weights += kSide * kSide;
      }
    }
}

}  // namespace keras_sparse::KERAS_SPARSE_INSTRUCTIONS::amx
