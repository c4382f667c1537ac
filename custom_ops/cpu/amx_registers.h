// The matrix registers of AMX: their sizes, and what a block of 4 x 4 weights takes of them.
#pragma once

#include <immintrin.h>

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

}  // namespace keras_sparse::KERAS_SPARSE_INSTRUCTIONS::amx
