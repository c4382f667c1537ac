// Elements of any type that are neighbours in memory, as a vector of floats in the same order.
#pragma once

#include "custom_ops/cpu/elements.h"

namespace keras_sparse::KERAS_SPARSE_INSTRUCTIONS {

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
    return Element::FromHalves(*reinterpret_cast<const UnalignedHalves*>(p));
  }
  KS_INLINE static void Store(Value* p, Vector v) {
    *reinterpret_cast<UnalignedHalves*>(p) = Element::ToHalves(v);
  }
  KS_INLINE static void Stream(Value* p, Vector v) { StreamHalves(p, Element::ToHalves(v)); }
  KS_INLINE static Vector LoadPart(const Value* p, int count) {
    Halves halves = {};
    for (int i = 0; i < count; ++i) halves[i] = p[i];
    return Element::FromHalves(halves);
  }
  KS_INLINE static void StorePart(Value* p, Vector v, int count) {
    const Halves halves = Element::ToHalves(v);
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
