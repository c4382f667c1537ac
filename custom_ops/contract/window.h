// Where the windows of a convolution lie along one axis: as TensorFlow's, for the paddings VALID
// and SAME.
#pragma once

#include <algorithm>
#include <cstdint>

#include "custom_ops/contract/numbers.h"

namespace keras_sparse {

struct Window {
  int64_t out;  // how many windows there are
  int64_t pad;  // zeros before the first input
};

// How many pixels a dilated kernel spans.
inline int64_t Span(int64_t kernel, int64_t dilation) { return (kernel - 1) * dilation + 1; }

// `kernel`: the pixels that it spans. VALID asks for kernel <= in.
inline Window MakeWindow(int64_t in, int64_t kernel, int64_t stride, bool same) {
  if (!same) return {(in - kernel) / stride + 1, 0};
  const int64_t out = DivideUp(in, stride);
  return {out, std::max<int64_t>(0, (out - 1) * stride + kernel - in) / 2};
}

}  // namespace keras_sparse
