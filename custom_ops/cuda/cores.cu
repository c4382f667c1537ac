// What runs for a product: lists of what is active, then the sums.
#include <algorithm>
#include <initializer_list>
#include <limits>

#include "custom_ops/cuda/cores.h"
#include "custom_ops/cuda/kernels.cuh"

namespace keras_sparse {
namespace {

int64_t ResultSize(Product product, const ConvSizes& s) {
  return product == Product::kForward         ? s.outputs()
         : product == Product::kInputGradient ? s.inputs()
                                              : s.weights();
}

bool IsNothing(const ConvSizes& s) {
  return s.inputs() == 0 || s.weights() == 0 || s.outputs() == 0;
}

constexpr int64_t kMost = std::numeric_limits<int32_t>::max();

// The product of sizes, or kMost + 1 if it is more than kMost.
int64_t Elements(std::initializer_list<int64_t> sizes) {
  int64_t product = 1;
  if (std::count(sizes.begin(), sizes.end(), 0) != 0) return 0;
  for (const int64_t size : sizes) product = size > kMost / product ? kMost + 1 : product * size;
  return std::min(product, kMost + 1);
}

const char* WhyNotTheseNumbers(const ConvSizes& s) {
  const int64_t sizes[] = {s.batch,         s.in_height,    s.in_width,     s.in_channels,
                           s.kernel_height, s.kernel_width, s.out_channels, s.stride_height,
                           s.stride_width,  s.pad_top,      s.pad_left,     s.out_height,
                           s.out_width};
  for (const int64_t size : sizes)
    if (size < 0 || size > kMost)
      return "a size, stride or padding that is negative or has more than 31 bits";
  if (s.stride_height == 0 || s.stride_width == 0) return "a stride of 0";
  for (const int64_t size : {s.kernel_height, s.kernel_width, s.stride_height, s.stride_width,
                             s.pad_top + 1, s.pad_left + 1})
    if (size > 1024) return "a kernel, stride or padding larger than 1024";
  if (Elements({s.batch, s.in_height, s.in_width, s.in_channels}) > kMost)
    return "2^31 inputs or more";
  if (Elements({s.kernel_height, s.kernel_width, s.in_channels, s.out_channels}) > kMost)
    return "2^31 weights or more";
  if (Elements({s.batch, s.out_height, s.out_width, s.out_channels}) > kMost)
    return "2^31 outputs or more";
  if (std::max(s.out_height * s.stride_height, s.out_width * s.stride_width) > kMost / 2)
    return "outputs that reach further than 2^30 pixels";
  return nullptr;
}

}  // namespace

const char* WhyNotOnCudaCores(Product product, const ConvSizes& sizes, MaskStructure structure) {
  if (const char* why = WhyNotTheseNumbers(sizes)) return why;
  if (IsNothing(sizes)) return nullptr;
  Plan plan;
  if (!MakePlan(product, sizes, structure, &plan))
    return "a kernel so large that no tile fits into shared memory";
  if (plan.tiles() * plan.groups() > kMost || plan.lists() / kThreads >= kMost ||
      plan.lists() * plan.room() * (plan.pairs ? kPairTaps : 1) / kThreads >= kMost)
    return "more than 2^31 blocks of threads";
  return nullptr;
}

int64_t CudaCoresWorkspace(Product product, const ConvSizes& sizes, MaskStructure structure) {
  Plan plan;
  if (WhyNotOnCudaCores(product, sizes, structure) != nullptr || IsNothing(sizes)) return 0;
  MakePlan(product, sizes, structure, &plan);
  return WorkspaceBytes(product, plan);
}

int RunOnCudaCores(Product product, const ConvSizes& sizes, MaskStructure structure,
                   const bool* mask, const float* first, const float* second, float* result,
                   void* workspace, void* stream) {
  constexpr int kInvalidValue = 1;  // cudaErrorInvalidValue
  if (WhyNotOnCudaCores(product, sizes, structure) != nullptr) return kInvalidValue;
  if (IsNothing(sizes)) {
    const int64_t size = ResultSize(product, sizes);
    return size == 0 ? 0 : SetToZero(result, size * sizeof(float), stream);
  }
  Plan plan;
  MakePlan(product, sizes, structure, &plan);
  const Lists lists = ListsIn(workspace, plan);
  const bool gradient = product == Product::kKernelGradient;
  if (const int error = LaunchBuildLists(plan, mask, gradient ? nullptr : second, lists, stream))
    return error;
  return gradient ? LaunchKernelGradient(plan, first, second, mask, lists, result, stream)
                  : LaunchMultiply(plan, first, lists, result, stream);
}

}  // namespace keras_sparse
