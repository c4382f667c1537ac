// Arithmetic with sizes.
#pragma once

#include <cstdint>

#if defined(__CUDACC__)
#define KS_HOST_DEVICE __host__ __device__
#else
#define KS_HOST_DEVICE
#endif

namespace keras_sparse {

// a / b, rounded up; neither is negative.
template <class A, class B>
KS_HOST_DEVICE constexpr auto DivideUp(A a, B b) {
  return (a + b - 1) / b;
}

// The smallest multiple of 256 of at least this many bytes.
constexpr int64_t AlignedBytes(int64_t bytes) { return DivideUp(bytes, 256) * 256; }

// Where slice i of [0, count) begins, if it is cut into `slices`; slice `slices` begins at its end.
constexpr int64_t SliceBegin(int64_t count, int64_t i, int64_t slices) {
  return count * i / slices;
}

}  // namespace keras_sparse
