// Operands of all products, for one mask: random numbers, and NaN where weights are missing.
#pragma once

#include <cmath>
#include <random>
#include <utility>
#include <vector>

#include "custom_ops/contract/product.h"
#include "custom_ops/tests/engines.h"
#include "custom_ops/tests/helpers.h"

namespace keras_sparse::tests {

struct Operands {
  Operands(const ConvSizes& s, Mask mask_of_weights, std::mt19937& rng)
      : mask(std::move(mask_of_weights)),
        inputs(Random(s.inputs(), rng)),
        kernel(Random(s.weights(), rng)),
        gradient(Random(s.outputs(), rng)) {
    for (int64_t i = 0; i < s.weights(); ++i)
      kernel[i] = mask[i] ? kernel[i] : NAN;  // missing weights are never read
  }

  // To values that this type has.
  void RoundTo(ElementType type) {
    for (std::vector<float>* values : {&inputs, &kernel, &gradient})
      *values = ToFloats(type, ToElements(type, values->data(), values->size()));
  }

  Call CallOf(Product product, const Convolution& convolution, int threads) const {
    const float* first = product == Product::kInputGradient ? gradient.data() : inputs.data();
    const float* second = product == Product::kKernelGradient ? gradient.data() : kernel.data();
    return {product, convolution, mask.get(), first, second, threads};
  }

  Mask mask;
  std::vector<float> inputs, kernel, gradient;
};

}  // namespace keras_sparse::tests
