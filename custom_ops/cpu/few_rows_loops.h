// The loops of few_rows.h, compiled once for each set of instructions.
#pragma once

#include "custom_ops/cpu/few_rows.h"
#include "custom_ops/cpu/vector.h"

namespace keras_sparse::KERAS_SPARSE_INSTRUCTIONS {

// x[channels[i]] in lane i.
KS_INLINE Vector Gather(const float* x, const uint16_t* channels) {
#if defined(__AVX512F__)
  const __m256i words = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(channels));
  return (Vector)_mm512_i32gather_ps(_mm512_cvtepu16_epi32(words), x, sizeof(float));
#elif defined(__AVX2__)
  const __m128i words = _mm_loadu_si128(reinterpret_cast<const __m128i*>(channels));
  return (Vector)_mm256_i32gather_ps(x, _mm256_cvtepu16_epi32(words), sizeof(float));
#else
  Vector v;
  for (int i = 0; i < kLanes; ++i) v[i] = x[channels[i]];
  return v;
#endif
}

// The first `count`, and zeros.
KS_INLINE Vector GatherPart(const float* x, const uint16_t* channels, int count) {
#if defined(__AVX512F__)
  const __mmask16 some = static_cast<__mmask16>((1u << count) - 1);
  const __m512i places = _mm512_cvtepu16_epi32(_mm256_maskz_loadu_epi16(some, channels));
  return (Vector)_mm512_mask_i32gather_ps(_mm512_setzero_ps(), some, places, x, sizeof(float));
#else
  Vector v = {};
  for (int i = 0; i < count; ++i) v[i] = x[channels[i]];
  return v;
#endif
}

// --- one row: each lane has its own weights

KS_INLINE Vector LaneSums(const float* x, const uint16_t* channels, const float* values,
                          int64_t count) {
  Vector sum = {};
  for (; count >= kLanes; count -= kLanes, channels += kLanes, values += kLanes)
    sum = MultiplyAdd(LoadUnaligned(values), Gather(x, channels), sum);
  if (count == 0) return sum;
  const int left = static_cast<int>(count);
  return MultiplyAdd(LoadPart(values, left), GatherPart(x, channels, left), sum);
}

inline void MultiplyRow(const RowTables& t, const float* x, const float* values, float* outputs,
                        int64_t first, int64_t end, float* buffer) {
  for (int64_t output = first; output < end; output += kLanes) {
    const int width = end - output < kLanes ? static_cast<int>(end - output) : kLanes;
    Vector sums = {};
    for (int32_t chunk = 0; chunk < t.chunks; ++chunk) {
      const int64_t* lists = t.first + chunk * t.out_channels + output;
      for (int i = 0; i < kLanes; ++i)
        Store(buffer + i * kLanes,
              i < width ? LaneSums(x + int64_t{chunk} * t.chunk_channels, t.channels + lists[i],
                                   values + lists[i], lists[i + 1] - lists[i])
                        : Vector{});
      sums = sums + SumOfEach(buffer);
    }
    StorePart(outputs + output, sums, width);
  }
}

// --- several rows: each lane is a row

// packed[channel][lane]; zeros in the lanes without a row.
KS_INLINE void PackRows(const RowTables& t, const float* inputs, float* packed) {
  for (int64_t c = 0; c < t.in_channels; c += kLanes) {
    const int count = t.in_channels - c < kLanes ? static_cast<int>(t.in_channels - c) : kLanes;
    Vector r[kLanes];
    for (int lane = 0; lane < kLanes; ++lane)
      r[lane] = lane < t.rows ? LoadPart(inputs + lane * t.in_channels + c, count) : Vector{};
    Transpose(r);
    for (int i = 0; i < count; ++i) Store(packed + (c + i) * kLanes, r[i]);
  }
}

KS_INLINE void UnpackRows(const RowTables& t, const float* sums, float* outputs, int64_t first,
                          int64_t end) {
  for (int64_t output = first; output < end; output += kLanes, sums += kLanes * kLanes) {
    const int width = end - output < kLanes ? static_cast<int>(end - output) : kLanes;
    Vector r[kLanes];
    for (int i = 0; i < kLanes; ++i) r[i] = i < width ? Load(sums + i * kLanes) : Vector{};
    Transpose(r);
    for (int64_t lane = 0; lane < t.rows; ++lane)
      StorePart(outputs + lane * t.out_channels + output, r[lane], width);
  }
}

// Four sums: a multiplication takes four cycles, and two begin in each.
KS_INLINE Vector RowSums(const float* packed, const uint16_t* channels, const float* values,
                         int64_t count) {
  Vector s[4] = {};
  for (; count >= 4; count -= 4, channels += 4, values += 4)
#pragma GCC unroll 4
    for (int i = 0; i < 4; ++i)
      s[i] = MultiplyAdd(Broadcast(values[i]), Load(packed + channels[i] * kLanes), s[i]);
  for (int64_t i = 0; i < count; ++i)
    s[0] = MultiplyAdd(Broadcast(values[i]), Load(packed + channels[i] * kLanes), s[0]);
  return (s[0] + s[1]) + (s[2] + s[3]);
}

inline int64_t SumFloats(int64_t first, int64_t end) {
  return (end - first + kLanes - 1) / kLanes * kLanes * kLanes;
}

inline void MultiplySomeRows(const RowTables& t, const float* inputs, const float* values,
                             float* outputs, int64_t first, int64_t end, float* buffer) {
  float* const packed = buffer + SumFloats(first, end);
  PackRows(t, inputs, packed);
  for (int32_t chunk = 0; chunk < t.chunks; ++chunk) {
    const float* const rows = packed + int64_t{chunk} * t.chunk_channels * kLanes;
    const int64_t* list = t.first + chunk * t.out_channels + first;
    float* sums = buffer;
    for (int64_t output = first; output < end; ++output, ++list, sums += kLanes) {
      const Vector sum = RowSums(rows, t.channels + *list, values + *list, list[1] - *list);
      Store(sums, chunk == 0 ? sum : Load(sums) + sum);
    }
  }
  UnpackRows(t, buffer, outputs, first, end);
}

inline int64_t RowBufferFloats(const RowTables& t, int64_t first, int64_t end) {
  return t.rows == 1 ? kLanes * kLanes : SumFloats(first, end) + t.in_channels * kLanes;
}

inline void MultiplyRows(const RowTables& t, const float* inputs, const float* values,
                         float* outputs, int64_t first, int64_t end, float* buffer) {
  (t.rows == 1 ? MultiplyRow : MultiplySomeRows)(t, inputs, values, outputs, first, end, buffer);
}

}  // namespace keras_sparse::KERAS_SPARSE_INSTRUCTIONS
