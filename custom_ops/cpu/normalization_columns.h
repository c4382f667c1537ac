// The blocks and columns in which the loops of batch normalization go through memory.
//
// Some rows, a block, are read column by column of vectors. So the constants of a column stay in
// registers, and the block in the first caches. Memory is read in its order, block by block. A
// processor does not foresee the columns' gaps, so passes that wait for memory fetch the next block
// while they compute one.
#pragma once

#include "custom_ops/cpu/consecutive.h"
#include "custom_ops/cpu/normalization_kernels.h"

namespace keras_sparse::KERAS_SPARSE_INSTRUCTIONS {

constexpr int64_t kMostRows = 32, kFewestRows = 2;  // of a block
// Elements of a block of one array, where the next block is fetched beside it.
constexpr int64_t kMomentElements = 2048, kGradientElements = 1024;
constexpr int kWide = kLanes == 16 ? 4 : 2;  // vectors side by side: 32 registers, or 16

template <class Element>
KS_INLINE bool CanStream(const void* p, int64_t channels) {
  constexpr int kBytes = kLanes * sizeof(typename Element::Value);
  return channels % kLanes == 0 && reinterpret_cast<uintptr_t>(p) % kBytes == 0;
}

// `kVectors` vectors side by side, or the first `lanes` of one. What is computed is float; what is
// read and written by row are elements. `kStreams`: elements are stored past the caches.
template <class Element, int kVectors, bool kIsPart, bool kStreams>
struct Columns {
  using Elements = Consecutive<Element>;
  using Value = typename Element::Value;
  static constexpr int kCount = kVectors;
  int lanes;

  KS_INLINE Vector Load(const float* p, int i) const {
    return kIsPart ? LoadPart(p, lanes) : LoadUnaligned(p + i * kLanes);
  }
  KS_INLINE void Store(float* p, int i, Vector v) const {
    if (kIsPart) {
      StorePart(p, v, lanes);
    } else {
      StoreUnaligned(p + i * kLanes, v);
    }
  }
  KS_INLINE Vector LoadElements(const Value* p, int i) const {
    return kIsPart ? Elements::LoadPart(p, lanes) : Elements::Load(p + i * kLanes);
  }
  KS_INLINE void StoreElements(Value* p, int i, Vector v) const {
    if (kIsPart) {
      Elements::StorePart(p, v, lanes);
    } else if (kStreams) {
      Elements::Stream(p + i * kLanes, v);
    } else {
      Elements::Store(p + i * kLanes, v);
    }
  }
};

// do_columns(columns, first channel) for all channels.
template <class Element, bool kStreams = false, class Function>
KS_INLINE void ForColumns(int64_t channels, const Function& do_columns) {
  int64_t c = 0;
  for (; c + kWide * kLanes <= channels; c += kWide * kLanes)
    do_columns(Columns<Element, kWide, false, kStreams>{kLanes}, c);
  for (; c + kLanes <= channels; c += kLanes)
    do_columns(Columns<Element, 1, false, kStreams>{kLanes}, c);
  if (c < channels) do_columns(Columns<Element, 1, true, false>{static_cast<int>(channels - c)}, c);
}

// Rows [first, first + rows), and how many the block behind them has.
struct RowBlock {
  int64_t first, rows, next_rows;
};

// Do rows have several columns of vectors? Those of one are read without gaps.
KS_INLINE bool HasGaps(int64_t channels) { return channels > kWide * kLanes; }

KS_INLINE int64_t RowsOf(int64_t elements, int64_t channels) {
  const int64_t rows = HasGaps(channels) ? elements / channels : kMostRows;
  return rows > kMostRows ? kMostRows : rows < kFewestRows ? kFewestRows : rows;
}

// do_block(block) for all rows, `most` at a time.
template <class Function>
KS_INLINE void ForBlocks(int64_t rows, int64_t most, const Function& do_block) {
  for (int64_t first = 0; first < rows; first += most) {
    const int64_t left = rows - first, behind = left > most ? left - most : 0;
    do_block(RowBlock{first, left < most ? left : most, behind < most ? behind : most});
  }
}

// The next block of an array into the first cache: of its memory, in order, the share that falls to
// the columns from channel c on.
template <class C>
KS_INLINE void PrefetchNext(C, const typename C::Value* array, const RowBlock& block,
                            int64_t channels, int64_t c) {
  constexpr int64_t kLine = 64 / sizeof *array;
  if (!HasGaps(channels)) return;
  const auto* share = array + (block.first + block.rows) * channels + c * block.next_rows;
  for (int64_t i = 0; i < C::kCount * kLanes * block.next_rows; i += kLine)
    __builtin_prefetch(share + i, 0, 3);
}

// The factors of a block's columns, in registers.
template <class C>
struct ColumnFactors {
  Vector mean[C::kCount], factor[C::kCount], offset[C::kCount];

  KS_INLINE ColumnFactors(C columns, const NormalizationFactors& f, int64_t c) {
    for (int i = 0; i < C::kCount; ++i) {
      mean[i] = columns.Load(f.mean + c, i);
      factor[i] = columns.Load(f.factor + c, i);
      offset[i] = columns.Load(f.offset + c, i);
    }
  }
};

}  // namespace keras_sparse::KERAS_SPARSE_INSTRUCTIONS
