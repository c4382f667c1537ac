// What is to be computed: the three products of a convolution with a sparse kernel. Free of any
// framework.
//
// Layouts: inputs and outputs NHWC, kernel and mask HWIO, all dense and contiguous, the mask bool.
// A weight is active where its mask is true. Missing weights are never read.
#pragma once

#include <cstdint>
#include <cstring>
#include <memory>

#include "custom_ops/contract/element_type.h"
#include "custom_ops/contract/epilogue.h"
#include "custom_ops/contract/parallel.h"
#include "custom_ops/contract/structure.h"

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

// A convolution, before there are values.
struct Convolution {
  ConvSizes sizes;
  ElementType type = ElementType::kFloat32;
  MaskStructure structure = {};
  int64_t dilation_height = 1, dilation_width = 1;  // input pixels from one tap to the next
  // The kernel is float32, whatever the type of all else: its values are rounded to `type`.
  bool kernel_in_floats = false;

  KernelType kernel_type() const { return {kernel_in_floats ? ElementType::kFloat32 : type, type}; }

  // Every sum has no term, or there is none.
  bool IsEmpty() const {
    return sizes.inputs() == 0 || sizes.weights() == 0 || sizes.outputs() == 0;
  }

  // Does a plan for the one serve the other?
  bool HasNumbersOf(const Convolution& other) const {
    return std::memcmp(&sizes, &other.sizes, sizeof sizes) == 0 &&
           dilation_height == other.dilation_height && dilation_width == other.dilation_width;
  }
};

// The three products of a training step.
enum class Product { kForward, kInputGradient, kKernelGradient };

inline int64_t ResultSize(Product product, const ConvSizes& s) {
  return product == Product::kForward         ? s.outputs()
         : product == Product::kInputGradient ? s.inputs()
                                              : s.weights();
}

// What both gradients are computed from, and the results.
struct BothGradients {
  const void *output_gradient, *kernel;
  const float* shared;  // values as in ConvPlan::RunShared, instead of those of `kernel`; or null
  const void* inputs;   // of the forward product
  void *input_gradient, *kernel_gradient;
  bool is_own;                   // as in ConvPlan::Run, of `kernel_gradient`
  bool as_list;                  // as RunToList writes `kernel_gradient`
  const void* addend = nullptr;  // as in Epilogue, of `input_gradient`
};

// One product for one mask: what depends on sizes and mask alone, computed once. Immutable, so any
// number of threads may run it at the same time.
class ConvPlan {
 public:
  virtual ~ConvPlan() = default;

  // All are arrays of the convolution's type, but for a kernel in floats; sums are float32.
  // kForward:        first = inputs,           second = kernel           -> result = outputs
  // kInputGradient:  first = output gradient,  second = kernel           -> result = input gradient
  // kKernelGradient: first = inputs,           second = output gradient  -> result = kernel
  // gradient, 0 where missing. The same bits for the same `threads`. `is_own`: `result` is as
  // another run of this plan has left it; then the zeros of missing weights are not written again.
  virtual void Run(const void* first, const void* second, void* result, const Parallel& parallel,
                   bool is_own = false) const = 0;

  // Of an input gradient: whether one pass over the output gradient gives both gradients in less
  // time than two.
  virtual bool GainsByBoth() const { return false; }
  virtual void RunBoth(const BothGradients&, const Parallel&) const {}

  // The values of the active weights in the order in which this plan uses them, which the caller
  // may keep as long as the kernel does not change. How many there are; 0: there are none to keep.
  virtual int64_t KeptValues() const { return 0; }
  virtual void ReadValues(const void* /*kernel*/, float* /*values*/, const Parallel&) const {}
  // As Run does, with these values for the kernel. The epilogue is computed if there is one, and if
  // this plan computes any.
  virtual void RunWithValues(const void* /*first*/, const float* /*values*/, void* /*result*/,
                             const Epilogue&, const Parallel&) const {}
  virtual bool HasEpilogue() const { return false; }
  // Of few rows: reading the values takes longer than multiplying them.
  virtual bool GainsMostByKeptValues() const { return false; }

  // For a kernel in float32, and more rows than a few: the values of the active weights in the
  // kernel's order, before they are rounded. Two products with one kernel may share them, so that
  // it is read once. How many there are; 0: this plan shares none.
  virtual int64_t SharedValues() const { return 0; }
  // As RunWithValues does, with the values of `kernel`, and writes them.
  virtual void RunAndShare(const void* /*first*/, const void* /*kernel*/, void* /*result*/,
                           float* /*shared*/, const Epilogue&, const Parallel&) const {}
  // The same, with these values for the kernel.
  virtual void RunShared(const void* /*first*/, const float* /*shared*/, void* /*result*/,
                         const Epilogue&, const Parallel&) const {}

  // Of a kernel gradient: how many weights are active.
  virtual int64_t ActiveWeights() const { return 0; }
  // As Run does, but writes the gradients of the active weights alone, a list in the kernel's
  // order.
  virtual void RunToList(const void* /*first*/, const void* /*second*/, void* /*list*/,
                         const Parallel&) const {}
};

// The best plan for this processor; `threads`: how many will run it. Never fails for a convolution
// that WhyNotOnCpu accepts.
std::unique_ptr<ConvPlan> MakeConvPlan(Product product, const Convolution& convolution,
                                       const bool* mask, int threads);

// Why the kernels for CPUs do not compute this convolution: "`argument` must ...", by the names
// that the ops have for their arguments; nullptr if they do.
const char* WhyNotOnCpu(const Convolution& convolution);

// Which instructions the plans use here: "AMX", "AVX-512", "AVX2", "portable". The environment
// variable KERAS_SPARSE_INSTRUCTIONS with one of these names asks for less than the processor has.
const char* Instructions();
const char* VectorInstructions();  // AMX has none of its own: "AVX-512"

}  // namespace keras_sparse
