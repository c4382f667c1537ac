// What does a convolution with a sparse kernel compute, and how is it called? Free of any
// framework.
//
// Layouts: inputs and outputs NHWC, kernel and mask HWIO, all dense and contiguous, float32 (the
// mask bool). A weight is active where its mask is true. Missing weights are never read.
#pragma once

#include <cstdint>
#include <memory>

#include "custom_ops/contract/parallel.h"

namespace keras_sparse {

struct ConvSizes {
  int64_t batch, in_height, in_width, in_channels;
  int64_t kernel_height, kernel_width, out_channels;
  int64_t stride_height, stride_width;
  int64_t pad_top, pad_left;  // zeros before the first row and column; those behind the last follow
                              // from the rest
  int64_t out_height, out_width;

  int64_t inputs() const { return batch * in_height * in_width * in_channels; }
  int64_t weights() const { return kernel_height * kernel_width * in_channels * out_channels; }
  int64_t outputs() const { return batch * out_height * out_width * out_channels; }
};

// The three products of a training step.
enum class Product { kForward, kInputGradient, kKernelGradient };

// One product for one mask: what depends on sizes and mask alone, computed once. Immutable, so any
// number of threads may run it at the same time.
class ConvPlan {
 public:
  virtual ~ConvPlan() = default;

  // True if the plan was made for this mask: one pass over it, at memory speed.
  virtual bool Matches(const ConvSizes& sizes, const bool* mask) const = 0;

  // kForward:        first = inputs,           second = kernel           -> result = outputs
  // kInputGradient:  first = output gradient,  second = kernel           -> result = input gradient
  // kKernelGradient: first = inputs,           second = output gradient  -> result = kernel
  // gradient, 0 where missing The same bits for the same `threads`.
  virtual void Run(const float* first, const float* second, float* result,
                   const Parallel& parallel) const = 0;
};

// The best plan for this processor; `threads`: how many will run it. Never fails for sizes that
// WhyUnsupported accepts.
std::unique_ptr<ConvPlan> MakeConvPlan(Product product, const ConvSizes& sizes, const bool* mask,
                                       int threads);

// An explanation for a person if the kernels do not take these sizes (indices would overflow), else
// nullptr.
const char* WhyUnsupported(const ConvSizes& sizes);

// Which instructions the plans use here: "AVX-512", "AVX2", "portable". The environment variable
// KERAS_SPARSE_INSTRUCTIONS with one of these names asks for less than the processor has.
const char* Instructions();

}  // namespace keras_sparse
