// The loops of batch normalization's gradient: its sums, then the gradient by the inputs.
#pragma once

#include "custom_ops/cpu/normalization_columns.h"

namespace keras_sparse::KERAS_SPARSE_INSTRUCTIONS {

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

}  // namespace keras_sparse::KERAS_SPARSE_INSTRUCTIONS
