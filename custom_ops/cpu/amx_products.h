// The innermost loops over active blocks of 4 x 4 weights in bfloat16, for processors with AMX: a
// matrix instruction multiplies up to 8 blocks by 16 lanes.
//
// The packed pixels are [summed block][slot][pair of channels][lane][channel of the pair]: a block
// and a slot are kBlockBytes. A matrix has no list of addresses: pixels of 8 blocks are copied side
// by side, while the copies before are multiplied.
#pragma once

#include <immintrin.h>

#include "custom_ops/cpu/block_segments.h"
#include "custom_ops/cpu/elements.h"
#include "custom_ops/cpu/vector.h"

namespace keras_sparse::KERAS_SPARSE_INSTRUCTIONS::amx {

constexpr int kSide = 4;                                 // channels of a block, both ways
constexpr int kBlocksAtOnce = 8;                         // whose 32 summed channels fill a matrix
constexpr int kMostPixels = 4;                           // whose sums are in matrix registers
constexpr int kLine = 64;                                // bytes of a row of a matrix
constexpr int kBlockBytes = 2 * kLine;                   // packed: of a block and a slot
constexpr int kCopyBytes = kBlocksAtOnce * kBlockBytes;  // of a pixel
constexpr int kWeightBytes = kSide * kLine;              // of the weights of 8 blocks

// Compilers do not know that matrix instructions read and write memory.
KS_INLINE void MemoryChanged() { __asm__ volatile("" ::: "memory"); }

// What LDTILECFG reads: bytes of a row and rows of each matrix register.
struct alignas(64) MatrixSizes {
  uint8_t palette = 1, start_row = 0, reserved[14] = {};
  uint16_t row_bytes[16] = {};
  uint8_t rows[16] = {};

  void Set(int matrix, int count, int bytes) {
    rows[matrix] = static_cast<uint8_t>(count);
    row_bytes[matrix] = static_cast<uint16_t>(bytes);
  }
};

KS_INLINE void Load(const MatrixSizes& sizes) {
  __asm__ volatile("" : : "r"(&sizes) : "memory");
  _tile_loadconfig(&sizes);
}

// Products: sums in 0 to 3; weights and pixels in 4 and 5, those of up to 4 blocks in 6 and 7.
KS_INLINE void BeginProducts() {
  MatrixSizes sizes;
  for (int i = 0; i < kMostPixels; ++i) sizes.Set(i, kSide, kLine);
  sizes.Set(4, kSide, kLine), sizes.Set(5, 2 * kBlocksAtOnce, kLine);
  sizes.Set(6, kSide, kLine / 2), sizes.Set(7, kBlocksAtOnce, kLine);
  Load(sizes);
}

// Kernel gradients: sums in 0 and 1, the pixels of 4 blocks in 4 and 5, the output gradient in 7.
KS_INLINE void BeginGradients() {
  MatrixSizes sizes;
  for (int i = 0; i < 2; ++i) sizes.Set(i, 16, kSide * sizeof(float)), sizes.Set(4 + i, 16, kLine);
  sizes.Set(7, 16, kSide * sizeof(float));
  Load(sizes);
}

// Other libraries may count on the sizes that they left in this thread.
class KeptSizes {
 public:
  KeptSizes() { _tile_storeconfig(&sizes_), MemoryChanged(); }
  ~KeptSizes() {
    if (sizes_.palette != 0) {
      Load(sizes_);
    } else {
      _tile_release();
    }
  }
  KeptSizes(const KeptSizes&) = delete;

 private:
  MatrixSizes sizes_;
};

KS_INLINE void CopyLine(char* to, const char* from) {
  _mm512_store_si512(to, _mm512_load_si512(from));
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

// A tile of output gradients: [output block][pair of pixels][16 rows][channel][2 lanes], and the
// packed pixels that belong to it: [summed block][slot][channel][pixel of the slot, of the next].
struct TileOfPairs {
  const char *packed, *gradients;
  int32_t height, pairs;  // of pixels, in a row
  int64_t row_bytes;      // from a row of packed pixels to the next
};
constexpr int kPairBytes = 16 * kSide * 4;  // of gradients
constexpr int kSlotBytes = kSide * kLine;   // of a block's packed pixels: twice kBlockBytes

// Of an output block in a tile of this many pairs; the last line keeps blocks from the same places
// of a cache.
constexpr int64_t GradientBytes(int64_t pairs) { return pairs * kPairBytes + kLine; }

// A pair of pixels of up to 8 blocks becomes the rows of two matrices.
KS_INLINE void CopyRows(const int32_t* offsets, int32_t count, const char* row, char* to) {
  for (int32_t b = 0; b < count; ++b, to += kSlotBytes) {
    const char* const from = row + 2 * int64_t{offsets[b]};
#pragma GCC unroll 4
    for (int i = 0; i < kSide; ++i) CopyLine(to + i * kLine, from + i * kLine);
  }
}

KS_INLINE void AddPair(bool is_half, const char* gradients, const char* rows) {
  MemoryChanged();
  _tile_loadd(7, gradients, 16);
  _tile_loadd(4, rows, kLine);
  _tile_dpbf16ps(0, 4, 7);
  if (is_half) return MemoryChanged();
  _tile_loadd(5, rows + kCopyBytes, kLine);
  _tile_dpbf16ps(1, 5, 7);
  MemoryChanged();
}

// sums[block][summed][output] += sum over the tile, for up to 8 blocks of one output block. Sums of
// blocks that are missing are of no consequence.
inline void GradientOfBlocks(const int32_t* offsets, int32_t count, const TileOfPairs& tile,
                             const char* gradients, char* copied, float* sums) {
  _tile_zero(0);
  _tile_zero(1);
  const int32_t steps = tile.height * tile.pairs;
  const char* row = tile.packed;
  for (int32_t step = 0, x = 0; step < steps; ++step, row += 2 * kSlotBytes) {
    CopyRows(offsets, count, row, copied + step % 4 * (2 * kCopyBytes));
    if (step > 0) {
      AddPair(count <= 4, gradients, copied + (step - 1) % 4 * (2 * kCopyBytes));
      gradients += kPairBytes;
    }
    if (++x == tile.pairs) x = 0, row += tile.row_bytes - tile.pairs * (2 * kSlotBytes);
  }
  AddPair(count <= 4, gradients, copied + (steps - 1) % 4 * (2 * kCopyBytes));
  alignas(kLine) float of_tile[8 * kSide * kSide];
  _tile_stored(0, of_tile, 16);
  _tile_stored(1, of_tile + 4 * kSide * kSide, 16);
  MemoryChanged();
  for (int32_t i = 0; i < count * kSide * kSide; ++i) sums[i] += of_tile[i];
}

// As GradientBlocks of block_segments.h. `first`: of the part's output blocks.
inline __attribute__((noinline)) void GradientBlocks(const BlockSegments& list,
                                                     const TileOfPairs& tile, int32_t first,
                                                     char* copied, float* sums) {
  const int32_t* offsets = list.offsets;
  const int64_t block_bytes = GradientBytes(tile.height * tile.pairs);
  for (const Segment* segment = list.segments; segment != list.end; ++segment) {
    const char* const gradients = tile.gradients + (segment->output - first) * block_bytes;
    for (int32_t left = segment->count; left > 0;) {
      const int32_t count = left < 8 ? left : 8;
      GradientOfBlocks(offsets, count, tile, gradients, copied, sums);
      left -= count, offsets += count, sums += count * kSide * kSide;
    }
  }
}

}  // namespace keras_sparse::KERAS_SPARSE_INSTRUCTIONS::amx
