// A product on the pixels of one lattice, by the loops over single weights or those over blocks.
#pragma once

#include <algorithm>
#include <cstring>

#include "custom_ops/contract/numbers.h"
#include "custom_ops/contract/parallel.h"
#include "custom_ops/contract/product.h"

namespace keras_sparse {

inline void FillWithZeros(void* result, int64_t bytes, const Parallel& parallel) {
  const int64_t slices = std::min<int64_t>(parallel.threads, 1 + bytes / 262144);
  parallel.run(slices, bytes / 4 / slices, [&](int64_t slice) {
    const int64_t begin = SliceBegin(bytes, slice, slices);
    std::memset(static_cast<char*>(result) + begin, 0,
                SliceBegin(bytes, slice + 1, slices) - begin);
  });
}

class LatticeProduct {
 public:
  virtual ~LatticeProduct() = default;

  // Values are arrays of the convolution's type.
  // result = kernel times inputs, on the pixels of this lattice.
  virtual void Multiply(const void* inputs, const void* kernel, void* result,
                        const Parallel& parallel) const = 0;

  // The values of the active weights in the order of the loops: how many, and what reads them.
  virtual int64_t Values() const = 0;
  virtual void ReadValues(const void* kernel, float* values, const Parallel& parallel) const = 0;
  // Multiply, with these values for the kernel; and then the epilogue.
  virtual void MultiplyValues(const void* inputs, const float* values, void* result,
                              const Epilogue& epilogue, const Parallel& parallel) const = 0;

  // The same, for plans that share the values of the active weights: see ConvPlan. How many this
  // lattice has; 0: it shares none.
  virtual int64_t SharedValues() const { return 0; }
  virtual void MultiplyAndShare(const void* /*inputs*/, const void* /*kernel*/, void* /*result*/,
                                float* /*shared*/, const Epilogue&, const Parallel&) const {}
  virtual void MultiplyShared(const void* /*inputs*/, const float* /*shared*/, void* /*result*/,
                              const Epilogue&, const Parallel&) const {}

  // result = gradient by the active weights, 0 for the others, unless these are `zeros_are_there`.
  virtual void Gradient(const void* inputs, const void* output_gradient, void* result,
                        const Parallel& parallel, bool zeros_are_there) const = 0;

  // list = gradients by the active weights alone, in the kernel's order.
  virtual void GradientList(const void* inputs, const void* output_gradient, void* list,
                            const Parallel& parallel) const = 0;

  // Of an input gradient: Multiply, and the gradient by the active weights, of this lattice.
  virtual bool GainsByBoth() const = 0;
  virtual void Both(const BothGradients& both, const Parallel& parallel) const = 0;
};

}  // namespace keras_sparse
