// The loops of batch normalization's forward pass: moments, then outputs.
#pragma once

#include "custom_ops/cpu/normalization_columns.h"

namespace keras_sparse::KERAS_SPARSE_INSTRUCTIONS {

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

}  // namespace keras_sparse::KERAS_SPARSE_INSTRUCTIONS
