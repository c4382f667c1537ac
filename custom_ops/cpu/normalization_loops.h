// The loops of batch normalization, compiled once for each set of instructions.
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

// --- moments

// Of a block, joined with those of the `before` rows before it (Chan, Golub & LeVeque 1979). The
// block is read twice, from a cache the second time: no difference of large numbers is taken.
template <class C>
KS_INLINE void MomentsOfBlock(C columns, const typename C::Value* inputs, int64_t stride,
                              int64_t rows, int64_t before, float* mean, float* squares) {
  Vector sum[C::kCount] = {}, square[C::kCount] = {};
  for (int64_t r = 0; r < rows; ++r)
    for (int i = 0; i < C::kCount; ++i) sum[i] += columns.LoadElements(inputs + r * stride, i);
  for (int i = 0; i < C::kCount; ++i) sum[i] *= Broadcast(1.0f / static_cast<float>(rows));
  for (int64_t r = 0; r < rows; ++r)
    for (int i = 0; i < C::kCount; ++i) {
      const Vector deviation = columns.LoadElements(inputs + r * stride, i) - sum[i];
      square[i] = MultiplyAdd(deviation, deviation, square[i]);
    }
  const float share = static_cast<float>(rows) / static_cast<float>(before + rows);
  for (int i = 0; i < C::kCount; ++i) {
    const Vector old = before > 0 ? columns.Load(mean, i) : Vector{};
    const Vector change = sum[i] - old;
    const Vector joined = change * change * Broadcast(share * static_cast<float>(before));
    columns.Store(mean, i, MultiplyAdd(change, Broadcast(share), old));
    columns.Store(squares, i,
                  square[i] + joined + (before > 0 ? columns.Load(squares, i) : Vector{}));
  }
}

template <class Element>
void Moments(int64_t rows, int64_t channels, const void* inputs, float* mean, float* squares) {
  const auto* x = static_cast<const typename Element::Value*>(inputs);
  ForBlocks(rows, RowsOf(kMomentElements, channels), [&](const RowBlock& block) {
    ForColumns<Element>(channels, [&](auto columns, int64_t c) {
      PrefetchNext(columns, x, block, channels, c);
      MomentsOfBlock(columns, x + block.first * channels + c, channels, block.rows, block.first,
                     mean + c, squares + c);
    });
  });
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

// --- outputs

template <class Activated, class C>
KS_INLINE void NormalizeBlock(C columns, const typename C::Value* inputs, int64_t stride,
                              int64_t rows, const NormalizationFactors& f, int64_t c,
                              typename C::Value* outputs) {
  const ColumnFactors<C> column(columns, f, c);
  for (int64_t r = 0; r < rows; ++r)
    for (int i = 0; i < C::kCount; ++i) {
      const Vector deviation = columns.LoadElements(inputs + r * stride, i) - column.mean[i];
      const Vector z = MultiplyAdd(deviation, column.factor[i], column.offset[i]);
      columns.StoreElements(outputs + r * stride, i, Activated::Outputs(z));
    }
}

template <class Element, class Activated, bool kStreams>
void NormalizeBy(int64_t rows, int64_t channels, const void* inputs,
                 const NormalizationFactors& factors, void* outputs) {
  const auto* x = static_cast<const typename Element::Value*>(inputs);
  auto* y = static_cast<typename Element::Value*>(outputs);
  ForBlocks(rows, RowsOf(kMomentElements, channels), [&](const RowBlock& block) {
    ForColumns<Element, kStreams>(channels, [&](auto columns, int64_t c) {
      const int64_t at = block.first * channels + c;
      PrefetchNext(columns, x, block, channels, c);
      NormalizeBlock<Activated>(columns, x + at, channels, block.rows, factors, c, y + at);
    });
  });
  if (kStreams) EndOfStream();
}

template <class Element>
void Normalize(int64_t rows, int64_t channels, Activation activation, bool is_large,
               const void* inputs, const NormalizationFactors& factors, void* outputs) {
  const bool streams = is_large && CanStream<Element>(outputs, channels);
  WithActivation(activation, [&](auto activated) {
    using Activated = decltype(activated);
    const auto run =
        streams ? NormalizeBy<Element, Activated, true> : NormalizeBy<Element, Activated, false>;
    run(rows, channels, inputs, factors, outputs);
  });
}

// --- gradient

template <class Activated, class C>
KS_INLINE void SumsOfBlock(C columns, const typename C::Value* output_gradient,
                           const typename C::Value* inputs, int64_t stride, int64_t rows,
                           const NormalizationFactors& f, int64_t c, bool is_first, float* sums,
                           float* deviation_sums) {
  Vector sum[C::kCount] = {}, product[C::kCount] = {};
  const ColumnFactors<C> column(columns, f, c);
  for (int64_t r = 0; r < rows; ++r)
    for (int i = 0; i < C::kCount; ++i) {
      const Vector deviation = columns.LoadElements(inputs + r * stride, i) - column.mean[i];
      const Vector z = MultiplyAdd(deviation, column.factor[i], column.offset[i]);
      const Vector g =
          Activated::Gradient(z, columns.LoadElements(output_gradient + r * stride, i));
      sum[i] += g;
      product[i] = MultiplyAdd(g, deviation, product[i]);
    }
  for (int i = 0; i < C::kCount; ++i) {
    columns.Store(sums, i, is_first ? sum[i] : sum[i] + columns.Load(sums, i));
    columns.Store(deviation_sums, i,
                  is_first ? product[i] : product[i] + columns.Load(deviation_sums, i));
  }
}

template <class Element, class Activated>
void GradientSumsBy(int64_t rows, int64_t channels, const void* output_gradient, const void* inputs,
                    const NormalizationFactors& factors, float* sums, float* deviation_sums) {
  const auto* g = static_cast<const typename Element::Value*>(output_gradient);
  const auto* x = static_cast<const typename Element::Value*>(inputs);
  ForBlocks(rows, RowsOf(kGradientElements, channels), [&](const RowBlock& block) {
    ForColumns<Element>(channels, [&](auto columns, int64_t c) {
      const int64_t at = block.first * channels + c;
      PrefetchNext(columns, x, block, channels, c);
      PrefetchNext(columns, g, block, channels, c);
      SumsOfBlock<Activated>(columns, g + at, x + at, channels, block.rows, factors, c,
                             block.first == 0, sums + c, deviation_sums + c);
    });
  });
}

template <class Element>
void GradientSums(int64_t rows, int64_t channels, Activation activation,
                  const void* output_gradient, const void* inputs,
                  const NormalizationFactors& factors, float* sums, float* deviation_sums) {
  WithActivation(activation, [&](auto activated) {
    GradientSumsBy<Element, decltype(activated)>(rows, channels, output_gradient, inputs, factors,
                                                 sums, deviation_sums);
  });
}

template <class Activated, bool kAdds, class C>
KS_INLINE void GradientOfBlock(C columns, const typename C::Value* output_gradient,
                               const typename C::Value* inputs, const typename C::Value* addend,
                               int64_t stride, int64_t rows, const NormalizationFactors& f,
                               int64_t c, typename C::Value* input_gradient) {
  const ColumnFactors<C> column(columns, f, c);
  Vector by_deviation[C::kCount], constant[C::kCount];
  for (int i = 0; i < C::kCount; ++i) {
    by_deviation[i] = columns.Load(f.by_deviation + c, i);
    constant[i] = columns.Load(f.constant + c, i);
  }
  for (int64_t r = 0; r < rows; ++r)
    for (int i = 0; i < C::kCount; ++i) {
      const Vector deviation = columns.LoadElements(inputs + r * stride, i) - column.mean[i];
      const Vector z = MultiplyAdd(deviation, column.factor[i], column.offset[i]);
      const Vector g =
          Activated::Gradient(z, columns.LoadElements(output_gradient + r * stride, i));
      Vector sum = MultiplyAdd(deviation, by_deviation[i], constant[i]);
      if (kAdds) sum += columns.LoadElements(addend + r * stride, i);
      columns.StoreElements(input_gradient + r * stride, i, MultiplyAdd(g, column.factor[i], sum));
    }
}

template <class Element, class Activated, bool kAdds, bool kStreams>
void InputGradientBy(int64_t rows, int64_t channels, const void* output_gradient,
                     const void* inputs, const NormalizationFactors& factors, const void* addend,
                     void* input_gradient) {
  using Value = typename Element::Value;
  const auto *g = static_cast<const Value*>(output_gradient),
             *x = static_cast<const Value*>(inputs), *other = static_cast<const Value*>(addend);
  auto* by_inputs = static_cast<Value*>(input_gradient);
  ForBlocks(rows, RowsOf(kGradientElements, channels), [&](const RowBlock& block) {
    ForColumns<Element, kStreams>(channels, [&](auto columns, int64_t c) {
      const int64_t at = block.first * channels + c;
      PrefetchNext(columns, x, block, channels, c);
      PrefetchNext(columns, g, block, channels, c);
      GradientOfBlock<Activated, kAdds>(columns, g + at, x + at, kAdds ? other + at : nullptr,
                                        channels, block.rows, factors, c, by_inputs + at);
    });
  });
  if (kStreams) EndOfStream();
}

template <class Element, class Activated, bool kAdds>
void InputGradientOf(bool streams, int64_t rows, int64_t channels, const void* output_gradient,
                     const void* inputs, const NormalizationFactors& factors, const void* addend,
                     void* input_gradient) {
  const auto run = streams ? InputGradientBy<Element, Activated, kAdds, true>
                           : InputGradientBy<Element, Activated, kAdds, false>;
  run(rows, channels, output_gradient, inputs, factors, addend, input_gradient);
}

template <class Element>
void InputGradient(int64_t rows, int64_t channels, Activation activation, bool is_large,
                   const void* output_gradient, const void* inputs,
                   const NormalizationFactors& factors, const void* addend, void* input_gradient) {
  // What is written where it was read is in a cache.
  const bool is_own = input_gradient == output_gradient || input_gradient == addend;
  const bool streams = is_large && !is_own && CanStream<Element>(input_gradient, channels);
  WithActivation(activation, [&](auto activated) {
    using Activated = decltype(activated);
    const auto run = addend != nullptr ? InputGradientOf<Element, Activated, true>
                                       : InputGradientOf<Element, Activated, false>;
    run(streams, rows, channels, output_gradient, inputs, factors, addend, input_gradient);
  });
}

template <class Element>
NormalizationKernels NormalizationNamed(const char* name) {
  return {name, Moments<Element>, Normalize<Element>, GradientSums<Element>,
          InputGradient<Element>};
}

// The loops for a type of elements.
#define KS_LOOPS(NAME) NormalizationNamed<NAME>(name),
inline const NormalizationKernels* NormalizationNamed(const char* name, ElementType type) {
  static const NormalizationKernels kernels[] = {KS_ELEMENT_TYPES(KS_LOOPS)};
  return &kernels[static_cast<int>(type)];
}
#undef KS_LOOPS

}  // namespace keras_sparse::KERAS_SPARSE_INSTRUCTIONS
