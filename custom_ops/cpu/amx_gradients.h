// Kernel gradients of active blocks of 4 x 4 weights in bfloat16, for processors with AMX: a matrix
// instruction multiplies a pair of pixels of up to 4 blocks, which are copied as in amx_products.h.
#pragma once

#include "custom_ops/cpu/amx_registers.h"
#include "custom_ops/cpu/block_segments.h"

namespace keras_sparse::KERAS_SPARSE_INSTRUCTIONS::amx {

// Kernel gradients: sums in 0 and 1, the pixels of 4 blocks in 4 and 5, the output gradient in 7.
KS_INLINE void BeginGradients() {
  MatrixSizes sizes;
  for (int i = 0; i < 2; ++i) sizes.Set(i, 16, kSide * sizeof(float)), sizes.Set(4 + i, 16, kLine);
  sizes.Set(7, 16, kSide * sizeof(float));
  Load(sizes);
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
