// Elements of any type that are neighbours in memory, as a vector of floats in the same order.
#pragma once

#include "custom_ops/cpu/elements.h"

namespace keras_sparse::KERAS_SPARSE_INSTRUCTIONS {

typedef uint16_t Halves __attribute__((vector_size(kVectorBytes / 2)));
typedef uint16_t UnalignedHalves
    __attribute__((vector_size(kVectorBytes / 2), aligned(1), may_alias));

KS_INLINE Vector Widened(BFloat16, Halves v) {
  return (Vector)(__builtin_convertvector(v, Bits) << 16);
}
KS_INLINE Halves Narrowed(BFloat16, Vector v) {
  return __builtin_convertvector(BFloat16::Rounded(v) >> 16, Halves);
}

KS_INLINE Vector Widened(Float16, Halves v) {
#if defined(__AVX512F__)  // every lane, with zeros elsewhere: without a mask g++ warns
  return (Vector)_mm512_maskz_cvtph_ps(0xffff, (__m256i)v);
#elif defined(__F16C__)
  return (Vector)_mm256_cvtph_ps((__m128i)v);
#else
  Vector floats = {};
  for (int i = 0; i < kLanes; ++i) floats[i] = FloatOfFloat16(v[i]);
  return floats;
#endif
}
KS_INLINE Halves Narrowed(Float16, Vector v) {
#if defined(__AVX512F__)
  return (Halves)_mm512_maskz_cvtps_ph(0xffff, (__m512)v, 0);
#elif defined(__F16C__)
  return (Halves)_mm256_cvtps_ph((__m256)v, 0);
#else
  Halves halves = {};
  for (int i = 0; i < kLanes; ++i) halves[i] = Float16Of(v[i]);
  return halves;
#endif
}

KS_INLINE void StreamHalves(uint16_t* p, Halves v) {
#if defined(__AVX512F__)
  _mm256_stream_si256(reinterpret_cast<__m256i*>(p), (__m256i)v);
#elif defined(__AVX2__)
  _mm_stream_si128(reinterpret_cast<__m128i*>(p), (__m128i)v);
#else
  *reinterpret_cast<UnalignedHalves*>(p) = v;
#endif
}

// kLanes elements; `Part`: the first `count` of them, zeros behind; `Stream`: past the caches, to
// memory that is aligned to kLanes elements.
template <class Element>
struct Consecutive {
  using Value = typename Element::Value;

  KS_INLINE static Vector Load(const Value* p) {
    return Widened(Element(), *reinterpret_cast<const UnalignedHalves*>(p));
  }
  KS_INLINE static void Store(Value* p, Vector v) {
    *reinterpret_cast<UnalignedHalves*>(p) = Narrowed(Element(), v);
  }
  KS_INLINE static void Stream(Value* p, Vector v) { StreamHalves(p, Narrowed(Element(), v)); }
  KS_INLINE static Vector LoadPart(const Value* p, int count) {
    Halves halves = {};
    for (int i = 0; i < count; ++i) halves[i] = p[i];
    return Widened(Element(), halves);
  }
  KS_INLINE static void StorePart(Value* p, Vector v, int count) {
    const Halves halves = Narrowed(Element(), v);
    for (int i = 0; i < count; ++i) p[i] = halves[i];
  }
};

template <>
struct Consecutive<Float32> {
  using Value = float;

  KS_INLINE static Vector Load(const float* p) { return LoadUnaligned(p); }
  KS_INLINE static void Store(float* p, Vector v) { StoreUnaligned(p, v); }
  KS_INLINE static void Stream(float* p, Vector v) { KERAS_SPARSE_INSTRUCTIONS::Stream(p, v); }
  KS_INLINE static Vector LoadPart(const float* p, int count) {
    return KERAS_SPARSE_INSTRUCTIONS::LoadPart(p, count);
  }
  KS_INLINE static void StorePart(float* p, Vector v, int count) {
    KERAS_SPARSE_INSTRUCTIONS::StorePart(p, v, count);
  }
};

}  // namespace keras_sparse::KERAS_SPARSE_INSTRUCTIONS
