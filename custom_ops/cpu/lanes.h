// Channels side by side become lanes side by side, and the other way round.
//
// `Elements` is a struct of elements.h: what the channels are in memory. Lanes are floats.
#pragma once

#include "custom_ops/cpu/elements.h"
#include "custom_ops/cpu/vector.h"

namespace keras_sparse::KERAS_SPARSE_INSTRUCTIONS {

// rows[channel * stride + lane] = pixels[lane][channel] for the first `channels` channels from
// `first` on.
template <class Elements>
KS_INLINE void ToLanes(const typename Elements::Value* const* pixels, int64_t first,
                       int64_t channels, float* rows, int64_t stride) {
  constexpr int kPerLane = Elements::kPerLane, kChannels = kLanes * kPerLane;
  for (int64_t c = 0; c < channels; c += kChannels) {
    const int64_t left = channels - c;
    Vector r[kLanes];
    if (left >= kChannels) {
      for (int lane = 0; lane < kLanes; ++lane)
        r[lane] = LoadUnaligned(reinterpret_cast<const float*>(pixels[lane] + first + c));
    } else {
      for (int lane = 0; lane < kLanes; ++lane)
        r[lane] = LoadPart(pixels[lane] + first + c, static_cast<int>(left));
    }
    Transpose(r);
    const int rows_left = left < kChannels ? static_cast<int>(left) : kChannels;
    for (int i = 0; i < rows_left; i += kPerLane) {
      Vector channel[kPerLane];
      Elements::Widen(r[i / kPerLane], channel);
      Store(rows + (c + i) * stride, channel[0]);
      if (kPerLane == 2 && i + 1 < rows_left)
        Store(rows + (c + i + 1) * stride, channel[kPerLane - 1]);
    }
  }
}

// The sums of elements in the order of memory, each rounded.
template <class Elements>
KS_INLINE Vector SumOfElements(Vector a, Vector b) {
  Vector sums[Elements::kPerLane], others[Elements::kPerLane];
  Elements::Widen(a, sums);
  Elements::Widen(b, others);
  for (int i = 0; i < Elements::kPerLane; ++i) sums[i] += others[i];
  return Elements::Narrow(sums);
}

// The other way round. kStream: whole vectors go past the caches, and all addresses are aligned.
// `addends`: pixels that are added; null: there are none.
template <class Elements, bool kStream>
KS_INLINE void FromLanes(const float* rows, int64_t stride, int64_t first, int64_t channels,
                         typename Elements::Value* const* pixels,
                         const typename Elements::Value* const* addends) {
  constexpr int kPerLane = Elements::kPerLane, kChannels = kLanes * kPerLane;
  for (int64_t c = 0; c < channels; c += kChannels) {
    const int64_t left = channels - c;
    Vector r[kLanes];
    for (int i = 0; i < kLanes; ++i) {
      Vector channel[kPerLane];
      for (int k = 0; k < kPerLane; ++k) {
        const int64_t row = i * kPerLane + k;
        channel[k] = row < left ? Load(rows + (c + row) * stride) : Vector{};
      }
      r[i] = Elements::Narrow(channel);
    }
    Transpose(r);
    if (addends != nullptr)
      for (int lane = 0; lane < kLanes; ++lane) {
        const typename Elements::Value* p = addends[lane] + first + c;
        const Vector other = left < kChannels ? LoadPart(p, static_cast<int>(left))
                                              : LoadUnaligned(reinterpret_cast<const float*>(p));
        r[lane] = SumOfElements<Elements>(r[lane], other);
      }
    for (int lane = 0; lane < kLanes; ++lane) {
      typename Elements::Value* p = pixels[lane] + first + c;
      if (left < kChannels) {
        StorePart(p, r[lane], static_cast<int>(left));
      } else if (kStream) {
        Stream(reinterpret_cast<float*>(p), r[lane]);
      } else {
        StoreUnaligned(reinterpret_cast<float*>(p), r[lane]);
      }
    }
  }
}

// Channels [first, first + channels) of these pixels into the second cache.
template <class Value>
KS_INLINE void PrefetchPixels(const Value* const* pixels, int64_t first, int64_t channels) {
  constexpr int64_t kLine = 64 / sizeof(Value);
  for (int lane = 0; lane < kLanes; ++lane)
    for (int64_t c = 0; c < channels; c += kLine)
      __builtin_prefetch(pixels[lane] + first + c, 0, 2);
}

}  // namespace keras_sparse::KERAS_SPARSE_INSTRUCTIONS
