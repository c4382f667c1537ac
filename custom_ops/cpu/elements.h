// How channels lie in memory and become vectors of floats: one struct for each type of elements.
//
// A lane has 4 bytes. It holds kPerLane channels that are neighbours in memory, so that 16-bit
// types change their layout in half as many lanes.
#pragma once

#include "custom_ops/contract/element_type.h"
#include "custom_ops/cpu/vector.h"

namespace keras_sparse::KERAS_SPARSE_INSTRUCTIONS {

typedef uint32_t Bits __attribute__((vector_size(kVectorBytes)));
typedef uint16_t Halves __attribute__((vector_size(kVectorBytes / 2)));
typedef uint16_t UnalignedHalves
    __attribute__((vector_size(kVectorBytes / 2), aligned(1), may_alias));

// The first `count` elements of 16 bits, two a lane; zeros behind them.
KS_INLINE Vector LoadPart(const uint16_t* p, int count) {
#if defined(__AVX512BW__)
  return (Vector)_mm512_maskz_loadu_epi16(static_cast<__mmask32>((uint64_t{1} << count) - 1), p);
#else
  Bits v = {};
  for (int i = 0; i < count; ++i) v[i / 2] |= static_cast<uint32_t>(p[i]) << (i % 2 * 16);
  return (Vector)v;
#endif
}

KS_INLINE void StorePart(uint16_t* p, Vector v, int count) {
#if defined(__AVX512BW__)
  _mm512_mask_storeu_epi16(p, static_cast<__mmask32>((uint64_t{1} << count) - 1), (__m512i)v);
#else
  const Bits bits = (Bits)v;
  for (int i = 0; i < count; ++i) p[i] = static_cast<uint16_t>(bits[i / 2] >> (i % 2 * 16));
#endif
}

struct Float32 {
  using Value = float;
  static constexpr int kPerLane = 1;

  KS_INLINE static void Widen(Vector lanes, Vector* channels) { channels[0] = lanes; }
  KS_INLINE static Vector Narrow(const Vector* channels) { return channels[0]; }
};

struct BFloat16 {
  using Value = uint16_t;
  static constexpr int kPerLane = 2;

  KS_INLINE static void Widen(Vector lanes, Vector* channels) {
    channels[0] = (Vector)((Bits)lanes << 16);
    channels[1] = (Vector)((Bits)lanes & 0xffff0000u);
  }
  KS_INLINE static Vector Narrow(const Vector* channels) {
    return (Vector)(Rounded(channels[0]) >> 16 | (Rounded(channels[1]) & 0xffff0000u));
  }

  // In the order of memory.
  KS_INLINE static Vector FromHalves(Halves v) {
#if defined(__AVX512F__)  // g++ takes five instructions for the other way
    return (Vector)((Bits)_mm512_maskz_cvtepu16_epi32(0xffff, (__m256i)v) << 16);
#else
    return (Vector)(__builtin_convertvector(v, Bits) << 16);
#endif
  }
  KS_INLINE static Halves ToHalves(Vector v) {
    return __builtin_convertvector(Rounded(v) >> 16, Halves);
  }

  // As BFloat16Of, in the upper 16 bits.
  KS_INLINE static Bits Rounded(Vector v) {
    const Bits bits = (Bits)v, is_nan = (Bits)(v != v);
    return (is_nan & (bits | 0x400000u)) | (~is_nan & (bits + 0x7fffu + (bits >> 16 & 1u)));
  }
};

struct Float16 {
  using Value = uint16_t;
  static constexpr int kPerLane = 2;

  KS_INLINE static void Widen(Vector lanes, Vector* channels) {
#if defined(__AVX512F__)  // every lane, with zeros elsewhere: without a mask g++ warns
    const __m256i even = _mm512_maskz_cvtepi32_epi16(kAll, (__m512i)lanes),
                  odd = _mm512_maskz_cvtepi32_epi16(kAll, (__m512i)((Bits)lanes >> 16));
    channels[0] = (Vector)_mm512_maskz_cvtph_ps(kAll, even);
    channels[1] = (Vector)_mm512_maskz_cvtph_ps(kAll, odd);
#elif defined(__F16C__)
    // Even channels, then odd ones, within each half; then the halves in order.
    const __m256i mixed =
        _mm256_packus_epi32((__m256i)((Bits)lanes & 0xffffu), (__m256i)((Bits)lanes >> 16));
    const __m256i apart = _mm256_permute4x64_epi64(mixed, 0xd8);
    channels[0] = (Vector)_mm256_cvtph_ps(_mm256_castsi256_si128(apart));
    channels[1] = (Vector)_mm256_cvtph_ps(_mm256_extracti128_si256(apart, 1));
#else
    const Bits bits = (Bits)lanes;
    Vector even = {}, odd = {};
    for (int i = 0; i < kLanes; ++i) {
      even[i] = FloatOfFloat16(static_cast<uint16_t>(bits[i]));
      odd[i] = FloatOfFloat16(static_cast<uint16_t>(bits[i] >> 16));
    }
    channels[0] = even, channels[1] = odd;
#endif
  }

  KS_INLINE static Vector Narrow(const Vector* channels) {
#if defined(__AVX512F__)
    const __m256i even = _mm512_maskz_cvtps_ph(kAll, (__m512)channels[0], 0),
                  odd = _mm512_maskz_cvtps_ph(kAll, (__m512)channels[1], 0);
    return (Vector)((Bits)_mm512_maskz_cvtepu16_epi32(kAll, even) |
                    (Bits)_mm512_maskz_cvtepu16_epi32(kAll, odd) << 16);
#elif defined(__F16C__)
    const __m128i even = _mm256_cvtps_ph((__m256)channels[0], 0),
                  odd = _mm256_cvtps_ph((__m256)channels[1], 0);
    return (Vector)_mm256_set_m128i(_mm_unpackhi_epi16(even, odd), _mm_unpacklo_epi16(even, odd));
#else
    Bits bits = {};
    for (int i = 0; i < kLanes; ++i)
      bits[i] = Float16Of(channels[0][i]) | static_cast<uint32_t>(Float16Of(channels[1][i])) << 16;
    return (Vector)bits;
#endif
  }

  KS_INLINE static Vector FromHalves(Halves v) {
#if defined(__AVX512F__)
    return (Vector)_mm512_maskz_cvtph_ps(kAll, (__m256i)v);
#elif defined(__F16C__)
    return (Vector)_mm256_cvtph_ps((__m128i)v);
#else
    Vector floats = {};
    for (int i = 0; i < kLanes; ++i) floats[i] = FloatOfFloat16(v[i]);
    return floats;
#endif
  }

  KS_INLINE static Halves ToHalves(Vector v) {
#if defined(__AVX512F__)
    return (Halves)_mm512_maskz_cvtps_ph(kAll, (__m512)v, 0);
#elif defined(__F16C__)
    return (Halves)_mm256_cvtps_ph((__m256)v, 0);
#else
    Halves halves = {};
    for (int i = 0; i < kLanes; ++i) halves[i] = Float16Of(v[i]);
    return halves;
#endif
  }

 private:
  static constexpr uint16_t kAll = 0xffff;
};

}  // namespace keras_sparse::KERAS_SPARSE_INSTRUCTIONS
