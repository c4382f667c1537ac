// What is right of a matrix product: the obvious loops, in double precision.
#pragma once

#include <vector>

#include "custom_ops/contract/matmul.h"

namespace keras_sparse::reference {

// `first` and `second` as in ConvPlan::Run.
inline std::vector<double> MatMul(Product product, int64_t rows, int64_t in, int64_t out,
                                  const bool* mask, const float* first, const float* second) {
  std::vector<double> result(ResultSize(product, MatMulSizes(rows, in, out)));
  for (int64_t r = 0; r < rows; ++r)
    for (int64_t i = 0; i < in; ++i)
      for (int64_t o = 0; o < out; ++o) {
        if (!mask[i * out + o]) continue;
        if (product == Product::kForward)
          result[r * out + o] += double(first[r * in + i]) * second[i * out + o];
        if (product == Product::kInputGradient)
          result[r * in + i] += double(first[r * out + o]) * second[i * out + o];
        if (product == Product::kKernelGradient)
          result[i * out + o] += double(first[r * in + i]) * second[r * out + o];
      }
  return result;
}

}  // namespace keras_sparse::reference
