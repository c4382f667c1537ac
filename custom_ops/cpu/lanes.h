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

// pixel[lane]: channels of the sums in `rows`, rounded, plus those of the addends from `first` on.
// kWhole: a vector of channels; else `left` of them, and zeros behind.
template <class Elements, bool kWhole>
KS_INLINE void PixelsOf(const float* rows, int64_t stride, int64_t first, int64_t left,
                        const typename Elements::Value* const* addends, Vector (&pixel)[kLanes]) {
  constexpr int kPerLane = Elements::kPerLane;
#pragma GCC unroll 16
  for (int i = 0; i < kLanes; ++i) {
    Vector sums[kPerLane];
#pragma GCC unroll 2
    for (int k = 0; k < kPerLane; ++k) {
      const int64_t row = i * kPerLane + k;
      sums[k] = kWhole || row < left ? Load(rows + row * stride) : Vector{};
    }
    pixel[i] = Elements::Narrow(sums);
  }
  Transpose(pixel);
  if (addends == nullptr) return;
  for (int lane = 0; lane < kLanes; ++lane) {
    const typename Elements::Value* p = addends[lane] + first;
    const Vector other = kWhole ? LoadUnaligned(reinterpret_cast<const float*>(p))
                                : LoadPart(p, static_cast<int>(left));
    pixel[lane] = SumOfElements<Elements>(pixel[lane], other);
  }
}

// Vectors of channels go past the caches by whole lines: a half that waits for the other one may be
// written alone, which takes longer.
constexpr int kVectorsOfLine = kVectorBytes < 64 ? 64 / kVectorBytes : 1;

// ToLanes the other way round. kStream: whole vectors go past the caches, and all addresses are
// aligned. `addends`: pixels that are added; null: there are none.
template <class Elements, bool kStream>
KS_INLINE void FromLanes(const float* rows, int64_t stride, int64_t first, int64_t channels,
                         typename Elements::Value* const* pixels,
                         const typename Elements::Value* const* addends) {
  constexpr int kChannels = kLanes * Elements::kPerLane;
  Vector pixel[kVectorsOfLine][kLanes];
  int64_t c = 0;
  const auto write_whole = [&](int vectors) {
    for (int v = 0; v < vectors; ++v)
      PixelsOf<Elements, true>(rows + (c + v * kChannels) * stride, stride,
                               first + c + v * kChannels, kChannels, addends, pixel[v]);
    for (int lane = 0; lane < kLanes; ++lane)
      for (int v = 0; v < vectors; ++v) {
        float* p = reinterpret_cast<float*>(pixels[lane] + first + c) + v * kLanes;
        if (kStream) {
          Stream(p, pixel[v][lane]);
        } else {
          StoreUnaligned(p, pixel[v][lane]);
        }
      }
    c += vectors * kChannels;
  };
  if (kStream)
    while (c + kVectorsOfLine * kChannels <= channels) write_whole(kVectorsOfLine);
  while (c + kChannels <= channels) write_whole(1);
  if (c == channels) return;
  const int64_t left = channels - c;
  PixelsOf<Elements, false>(rows + c * stride, stride, first + c, left, addends, pixel[0]);
  for (int lane = 0; lane < kLanes; ++lane)
    StorePart(pixels[lane] + first + c, pixel[0][lane], static_cast<int>(left));
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
