// What follows a product while its results are in a cache: a bias for each output channel, and
// bounds, as those of a ReLU; then the sum with an array of the same shape.
#pragma once

#include <limits>

namespace keras_sparse {

// outputs = min(max(sums + bias, least), most) + addend. Outputs of 16 bits are rounded before the
// addend is added, and after it.
struct Epilogue {
  const float* bias = nullptr;  // one for each output channel; null: no bias and no bounds
  float least = -std::numeric_limits<float>::infinity();
  float most = std::numeric_limits<float>::infinity();
  const void* addend = nullptr;  // of the outputs' shape and type; null: there is none
};

}  // namespace keras_sparse
