// A vector of floats, and what can be done with it: 16 with AVX-512, 8 with AVX2, 4 elsewhere.
//
// Included by files that are compiled for one set of instructions each; all names lie in a
// namespace of that set, so that the linker never mixes them up. No function of the standard
// library may be used in such files for the same reason.
#pragma once

#include <cstdint>
#include <cstring>

#if defined(__AVX512F__)
#include <immintrin.h>
#define KERAS_SPARSE_INSTRUCTIONS avx512
#elif defined(__AVX2__)
#include <immintrin.h>
#define KERAS_SPARSE_INSTRUCTIONS avx2
#else
#define KERAS_SPARSE_INSTRUCTIONS portable
#endif

namespace keras_sparse::KERAS_SPARSE_INSTRUCTIONS {

#if defined(__AVX512F__)
constexpr int kLanes = 16;
#elif defined(__AVX2__)
constexpr int kLanes = 8;
#else
constexpr int kLanes = 4;
#endif
constexpr int kVectorBytes = kLanes * sizeof(float);

typedef float Vector __attribute__((vector_size(kVectorBytes)));
typedef float UnalignedVector __attribute__((vector_size(kVectorBytes), aligned(1), may_alias));

#define KS_INLINE inline __attribute__((always_inline))

KS_INLINE Vector Load(const float* p) { return *reinterpret_cast<const Vector*>(p); }
KS_INLINE void Store(float* p, Vector v) { *reinterpret_cast<Vector*>(p) = v; }
KS_INLINE Vector LoadUnaligned(const float* p) {
  return *reinterpret_cast<const UnalignedVector*>(p);
}
KS_INLINE void StoreUnaligned(float* p, Vector v) { *reinterpret_cast<UnalignedVector*>(p) = v; }
// Past the caches; `p` aligned to a vector.
KS_INLINE void Stream(float* p, Vector v) {
#if defined(__AVX512F__)
  _mm512_stream_ps(p, (__m512)v);
#elif defined(__AVX2__)
  _mm256_stream_ps(p, (__m256)v);
#else
  Store(p, v);
#endif
}
// Before another thread reads what was streamed.
KS_INLINE void EndOfStream() {
#if defined(__AVX2__)
  _mm_sfence();
#endif
}
KS_INLINE Vector Broadcast(float x) { return x - Vector{}; }

KS_INLINE Vector MultiplyAdd(Vector a, Vector b, Vector sum) {
#if defined(__AVX512F__)
  return (Vector)_mm512_fmadd_ps((__m512)a, (__m512)b, (__m512)sum);
#elif defined(__AVX2__)
  return (Vector)_mm256_fmadd_ps((__m256)a, (__m256)b, (__m256)sum);
#else
  return a * b + sum;
#endif
}

// The first `count` floats; zeros in the other lanes.
KS_INLINE Vector LoadPart(const float* p, int count) {
#if defined(__AVX512F__)
  return (Vector)_mm512_maskz_loadu_ps(static_cast<__mmask16>((1u << count) - 1), p);
#else
  Vector v = {};
  for (int i = 0; i < count; ++i) v[i] = p[i];
  return v;
#endif
}

KS_INLINE void StorePart(float* p, Vector v, int count) {
#if defined(__AVX512F__)
  _mm512_mask_storeu_ps(p, static_cast<__mmask16>((1u << count) - 1), (__m512)v);
#else
  for (int i = 0; i < count; ++i) p[i] = v[i];
#endif
}

// clang-format off
// Shuffles within 4 lanes, the same in every group of 4. Indices from 16 on count from the second
// vector's beginning.
#if defined(__AVX512F__)
#define KS_SHUFFLE(a, b, i, j, k, l) __builtin_shufflevector(a, b, \
    KS_I(i, 0), KS_I(j, 0), KS_I(k, 0), KS_I(l, 0), \
    KS_I(i, 4), KS_I(j, 4), KS_I(k, 4), KS_I(l, 4), \
    KS_I(i, 8), KS_I(j, 8), KS_I(k, 8), KS_I(l, 8), \
    KS_I(i, 12), KS_I(j, 12), KS_I(k, 12), KS_I(l, 12))
// Groups of 4 lanes: i and j of a, k and l of b.
#define KS_GROUPS(a, b, i, j, k, l) __builtin_shufflevector(a, b, \
    4 * i, 4 * i + 1, 4 * i + 2, 4 * i + 3, \
    4 * j, 4 * j + 1, 4 * j + 2, 4 * j + 3, 16 + 4 * k, 17 + 4 * k, 18 + 4 * k, 19 + 4 * k, \
    16 + 4 * l, 17 + 4 * l, 18 + 4 * l, 19 + 4 * l)
#elif defined(__AVX2__)
#define KS_SHUFFLE(a, b, i, j, k, l) __builtin_shufflevector(a, b, \
    KS_I(i, 0), KS_I(j, 0), KS_I(k, 0), KS_I(l, 0), KS_I(i, 4), KS_I(j, 4), KS_I(k, 4), KS_I(l, 4))
#else
#define KS_SHUFFLE(a, b, i, j, k, l) __builtin_shufflevector(a, b, \
    KS_I(i, 0), KS_I(j, 0), KS_I(k, 0), KS_I(l, 0))
#endif
#define KS_I(i, group) ((i) < 16 ? (i) + (group) : (i) - 16 + (group) + kLanes)
// clang-format on

// rows[i][j] <-> rows[j][i].
KS_INLINE void Transpose(Vector (&r)[kLanes]) {
  Vector t[kLanes];
  for (int i = 0; i < kLanes; i += 4) {  // 4x4 within each group of 4 lanes
    const Vector a = KS_SHUFFLE(r[i], r[i + 1], 0, 16, 1, 17),
                 b = KS_SHUFFLE(r[i], r[i + 1], 2, 18, 3, 19);
    const Vector c = KS_SHUFFLE(r[i + 2], r[i + 3], 0, 16, 1, 17),
                 d = KS_SHUFFLE(r[i + 2], r[i + 3], 2, 18, 3, 19);
    t[i] = KS_SHUFFLE(a, c, 0, 1, 16, 17), t[i + 1] = KS_SHUFFLE(a, c, 2, 3, 18, 19);
    t[i + 2] = KS_SHUFFLE(b, d, 0, 1, 16, 17), t[i + 3] = KS_SHUFFLE(b, d, 2, 3, 18, 19);
  }
#if defined(__AVX512F__)
  for (int i = 0; i < 4; ++i) {  // then the groups
    const Vector a = KS_GROUPS(t[i], t[4 + i], 0, 2, 0, 2),
                 b = KS_GROUPS(t[i], t[4 + i], 1, 3, 1, 3);
    const Vector c = KS_GROUPS(t[8 + i], t[12 + i], 0, 2, 0, 2),
                 d = KS_GROUPS(t[8 + i], t[12 + i], 1, 3, 1, 3);
    r[i] = KS_GROUPS(a, c, 0, 2, 0, 2), r[8 + i] = KS_GROUPS(a, c, 1, 3, 1, 3);
    r[4 + i] = KS_GROUPS(b, d, 0, 2, 0, 2), r[12 + i] = KS_GROUPS(b, d, 1, 3, 1, 3);
  }
#elif defined(__AVX2__)
  for (int i = 0; i < 4; ++i) {
    r[i] = __builtin_shufflevector(t[i], t[4 + i], 0, 1, 2, 3, 8, 9, 10, 11);
    r[4 + i] = __builtin_shufflevector(t[i], t[4 + i], 4, 5, 6, 7, 12, 13, 14, 15);
  }
#else
  for (int i = 0; i < 4; ++i) r[i] = t[i];
#endif
}

// Lane i of the result: the sum of the lanes of the i-th of kLanes vectors that lie one after the
// other.
KS_INLINE Vector SumOfEach(const float* rows) {
  Vector s[kLanes / 4];
  for (int i = 0; i < kLanes / 4; ++i) {
    const float* p = rows + 4 * i * kLanes;
    const Vector a = Load(p), b = Load(p + kLanes), c = Load(p + 2 * kLanes),
                 d = Load(p + 3 * kLanes);
    const Vector ab = KS_SHUFFLE(a, b, 0, 2, 16, 18) + KS_SHUFFLE(a, b, 1, 3, 17, 19);
    const Vector cd = KS_SHUFFLE(c, d, 0, 2, 16, 18) + KS_SHUFFLE(c, d, 1, 3, 17, 19);
    s[i] = KS_SHUFFLE(ab, cd, 0, 2, 16, 18) + KS_SHUFFLE(ab, cd, 1, 3, 17, 19);
  }
#if defined(__AVX512F__)
  const Vector t = KS_GROUPS(s[0], s[1], 0, 2, 0, 2) + KS_GROUPS(s[0], s[1], 1, 3, 1, 3);
  const Vector u = KS_GROUPS(s[2], s[3], 0, 2, 0, 2) + KS_GROUPS(s[2], s[3], 1, 3, 1, 3);
  return KS_GROUPS(t, u, 0, 2, 0, 2) + KS_GROUPS(t, u, 1, 3, 1, 3);
#elif defined(__AVX2__)
  return __builtin_shufflevector(s[0], s[1], 0, 1, 2, 3, 8, 9, 10, 11) +
         __builtin_shufflevector(s[0], s[1], 4, 5, 6, 7, 12, 13, 14, 15);
#else
  return s[0];
#endif
}

}  // namespace keras_sparse::KERAS_SPARSE_INSTRUCTIONS
