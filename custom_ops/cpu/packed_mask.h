// A mask in 1 bit a weight, from which active weights are found 16 at a time.
#pragma once

#include <cstdint>
#include <cstring>
#include <vector>

#include "custom_ops/contract/numbers.h"

#if defined(__SSE2__)
#include <emmintrin.h>
#endif

namespace keras_sparse {

class PackedMask {
 public:
  static constexpr int64_t kWord = 16;

  PackedMask(const bool* mask, int64_t size) : size_(size), bits_(DivideUp(size, kWord)) {
    for (int64_t i = 0; i < size; i += kWord) bits_[i / kWord] = Bits(mask, i);
  }

  // The mask's bits, kWord a word; 0 beyond its end.
  const uint16_t* words() const { return bits_.data(); }

  // Calls use(index) for every active weight, in order.
  template <class Use>
  void ForEachActive(Use use) const {
    for (int64_t word = 0; word < static_cast<int64_t>(bits_.size()); ++word)
      for (uint32_t bits = bits_[word]; bits != 0; bits &= bits - 1)
        use(word * kWord + __builtin_ctz(bits));
  }

 private:
  uint16_t Bits(const bool* mask, int64_t first) const {
    unsigned char bytes[kWord] = {};
    if (first + kWord <= size_) {
      std::memcpy(bytes, mask + first, kWord);
    } else {
      std::memcpy(bytes, mask + first, size_ - first);
    }
#if defined(__SSE2__)
    const __m128i values = _mm_loadu_si128(reinterpret_cast<const __m128i*>(bytes));
    return static_cast<uint16_t>(~_mm_movemask_epi8(_mm_cmpeq_epi8(values, _mm_setzero_si128())));
#else
    uint16_t bits = 0;
    for (int i = 0; i < kWord; ++i) bits |= static_cast<uint16_t>((bytes[i] != 0) << i);
    return bits;
#endif
  }

  int64_t size_;
  std::vector<uint16_t> bits_;
};

}  // namespace keras_sparse
