// What Python calls through ctypes, for tests and benchmarks without TensorFlow, passes as numbers.
#pragma once

#include <cstdint>
#include <cstring>

#include "custom_ops/contract/product.h"

namespace keras_sparse {

// `sizes`: the 13 numbers of ConvSizes in order.
inline ConvSizes SizesOf(const int64_t* sizes) {
  static_assert(sizeof(ConvSizes) == 13 * sizeof(int64_t), "13 numbers");
  ConvSizes all = {};
  std::memcpy(&all, sizes, sizeof all);
  return all;
}

}  // namespace keras_sparse
