// What follows a forward product: a bias for each output channel, and bounds, as those of a ReLU.
#pragma once

#include <limits>

namespace keras_sparse {

// outputs = min(max(sums + bias, least), most)
struct Epilogue {
  const float* bias = nullptr;  // one for each output channel; null: there is no epilogue
  float least = -std::numeric_limits<float>::infinity();
  float most = std::numeric_limits<float>::infinity();
};

}  // namespace keras_sparse
