// Is this the mask of the last call? A copy of 1 bit a weight, compared at memory speed.
#pragma once

#include <cstdint>
#include <cstring>
#include <vector>

#if defined(__SSE2__)
#include <emmintrin.h>
#endif

namespace keras_sparse {

class PackedMask {
 public:
  PackedMask(const bool* mask, int64_t size) : size_(size), bits_((size + kChunk - 1) / kChunk) {
    for (int64_t i = 0; i < size; i += kChunk) bits_[i / kChunk] = Bits(mask, i);
  }

  bool Equals(const bool* mask) const {
    for (int64_t i = 0; i < size_; i += kChunk)
      if (bits_[i / kChunk] != Bits(mask, i)) return false;
    return true;
  }

  // Calls use(index) for every active weight, in order.
  template <class Use>
  void ForEachActive(Use use) const {
    for (int64_t chunk = 0; chunk < static_cast<int64_t>(bits_.size()); ++chunk)
      for (uint32_t bits = bits_[chunk]; bits != 0; bits &= bits - 1)
        use(chunk * kChunk + __builtin_ctz(bits));
  }

 private:
  static constexpr int64_t kChunk = 16;

  uint16_t Bits(const bool* mask, int64_t first) const {
    unsigned char bytes[kChunk] = {};
    if (first + kChunk <= size_) {
      std::memcpy(bytes, mask + first, kChunk);
    } else {
      std::memcpy(bytes, mask + first, size_ - first);
    }
#if defined(__SSE2__)
    const __m128i values = _mm_loadu_si128(reinterpret_cast<const __m128i*>(bytes));
    return static_cast<uint16_t>(~_mm_movemask_epi8(_mm_cmpeq_epi8(values, _mm_setzero_si128())));
#else
    uint16_t bits = 0;
    for (int i = 0; i < kChunk; ++i) bits |= static_cast<uint16_t>((bytes[i] != 0) << i);
    return bits;
#endif
  }

  int64_t size_;
  std::vector<uint16_t> bits_;
};

}  // namespace keras_sparse
