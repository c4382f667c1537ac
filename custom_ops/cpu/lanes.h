// Channels side by side become lanes side by side, and the other way round.
#pragma once

#include "custom_ops/cpu/vector.h"

namespace keras_sparse::KERAS_SPARSE_INSTRUCTIONS {

// rows[channel * stride + lane] = pixels[lane][channel] for the first `channels` channels from
// `first` on.
KS_INLINE void ToLanes(const float* const* pixels, int64_t first, int64_t channels, float* rows,
                       int64_t stride) {
  for (int64_t c = 0; c < channels; c += kLanes) {
    const int64_t left = channels - c;
    Vector r[kLanes];
    if (left >= kLanes) {
      for (int lane = 0; lane < kLanes; ++lane) r[lane] = LoadUnaligned(pixels[lane] + first + c);
    } else {
      for (int lane = 0; lane < kLanes; ++lane)
        r[lane] = LoadPart(pixels[lane] + first + c, static_cast<int>(left));
    }
    Transpose(r);
    const int rows_left = left < kLanes ? static_cast<int>(left) : kLanes;
    for (int i = 0; i < rows_left; ++i) Store(rows + (c + i) * stride, r[i]);
  }
}

// The other way round. kStream: whole vectors go past the caches, and all addresses are aligned.
template <bool kStream>
KS_INLINE void FromLanes(const float* rows, int64_t stride, int64_t first, int64_t channels,
                         float* const* pixels) {
  for (int64_t c = 0; c < channels; c += kLanes) {
    const int64_t left = channels - c;
    Vector r[kLanes];
    for (int i = 0; i < kLanes; ++i) r[i] = i < left ? Load(rows + (c + i) * stride) : Vector{};
    Transpose(r);
    for (int lane = 0; lane < kLanes; ++lane) {
      float* p = pixels[lane] + first + c;
      if (left < kLanes) {
        StorePart(p, r[lane], static_cast<int>(left));
      } else if (kStream) {
        Stream(p, r[lane]);
      } else {
        StoreUnaligned(p, r[lane]);
      }
    }
  }
}

// Channels [first, first + channels) of these pixels into the second cache.
KS_INLINE void PrefetchPixels(const float* const* pixels, int64_t first, int64_t channels) {
  for (int lane = 0; lane < kLanes; ++lane)
    for (int64_t c = 0; c < channels; c += 16) __builtin_prefetch(pixels[lane] + first + c, 0, 2);
}

}  // namespace keras_sparse::KERAS_SPARSE_INSTRUCTIONS
