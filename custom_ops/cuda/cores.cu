// A product: lists of what is active, then the sums.
#include <algorithm>
#include <initializer_list>
#include <iterator>
#include <limits>

#include "custom_ops/cuda/cores.h"
#include "custom_ops/cuda/kernels.cuh"

namespace keras_sparse {
namespace {

constexpr int64_t kMost = std::numeric_limits<int32_t>::max();

// The product of sizes, or kMost + 1 if it is more than kMost.
int64_t Elements(std::initializer_list<int64_t> sizes) {
  int64_t product = 1;
  if (std::count(sizes.begin(), sizes.end(), 0) != 0) return 0;
  for (const int64_t size : sizes) product = size > kMost / product ? kMost + 1 : product * size;
  return std::min(product, kMost + 1);
}

bool FitsIn31Bits(const ConvSizes& s) {
  const int64_t sizes[] = {s.batch,         s.in_height,    s.in_width,     s.in_channels,
                           s.kernel_height, s.kernel_width, s.out_channels, s.stride_height,
                           s.stride_width,  s.pad_top,      s.pad_left,     s.out_height,
                           s.out_width};
  return std::all_of(std::begin(sizes), std::end(sizes),
                     [](int64_t size) { return size >= 0 && size <= kMost; });
}

const char* UnsupportedSizes(const ConvSizes& s) {
  constexpr int64_t kMostPixels = 1024;
  if (!FitsIn31Bits(s)) return "`inputs` must have sizes below 2^31";
  if (std::min(s.stride_height, s.stride_width) < 1) return "`strides` must be at least 1";
  if (std::max(s.stride_height, s.stride_width) > kMostPixels)
    return "`strides` must be at most 1024";
  if (std::max({s.kernel_height, s.kernel_width, s.pad_top + 1, s.pad_left + 1}) > kMostPixels)
    return "`kernel` must span at most 1024 pixels each way";
  if (Elements({s.batch, s.in_height, s.in_width, s.in_channels}) > kMost)
    return "`inputs` must have fewer than 2^31 elements";
  if (Elements({s.kernel_height, s.kernel_width, s.in_channels, s.out_channels}) > kMost)
    return "`kernel` must have fewer than 2^31 elements";
  if (Elements({s.batch, s.out_height, s.out_width, s.out_channels}) > kMost)
    return "`inputs` must give outputs of fewer than 2^31 elements";
  if (std::max(s.out_height * s.stride_height, s.out_width * s.stride_width) > kMost / 2)
    return "`inputs` must be at most 2^30 pixels high and wide";
  return nullptr;
}

const char* UnsupportedKind(const Convolution& c) {
  if (c.type != ElementType::kFloat32)
    return "`inputs` must be float32 for masks of single weights and channel pairs on GPUs";
  if (c.structure.kind == MaskStructure::kBlocks)
    return "`structure` must be \"weights\" or \"channel_pairs\" on CUDA cores";
  if (c.dilation_height != 1 || c.dilation_width != 1) return "`dilations` must be 1 on GPUs";
  return nullptr;
}

}  // namespace

const char* WhyNotOnCudaCores(Product product, const Convolution& convolution) {
  if (const char* why = UnsupportedKind(convolution)) return why;
  if (const char* why = UnsupportedSizes(convolution.sizes)) return why;
  if (convolution.IsEmpty()) return nullptr;
  CudaTiling tiling;
  if (!MakeCudaTiling(product, convolution, &tiling))
    return "`kernel` must be so small that a tile fits into shared memory";
  if (tiling.tiles() * tiling.groups() > kMost || tiling.lists() / kThreads >= kMost ||
      tiling.lists() * tiling.room() * (tiling.pairs ? kPairTaps : 1) / kThreads >= kMost)
    return "`inputs` must take fewer than 2^31 blocks of threads";
  return nullptr;
}

int64_t CudaCoresWorkspace(Product product, const Convolution& convolution) {
  CudaTiling tiling;
  if (WhyNotOnCudaCores(product, convolution) != nullptr || convolution.IsEmpty()) return 0;
  MakeCudaTiling(product, convolution, &tiling);
  return WorkspaceBytes(product, tiling);
}

int RunOnCudaCores(Product product, const Convolution& convolution, const bool* mask,
                   const float* first, const float* second, float* result, void* workspace,
                   void* stream) {
  constexpr int kInvalidValue = 1;  // cudaErrorInvalidValue
  if (WhyNotOnCudaCores(product, convolution) != nullptr) return kInvalidValue;
  if (convolution.IsEmpty()) {
    const int64_t size = ResultSize(product, convolution.sizes);
    return size == 0 ? 0 : SetToZero(result, size * sizeof(float), stream);
  }
  CudaTiling tiling;
  MakeCudaTiling(product, convolution, &tiling);
  const Lists lists = ListsIn(workspace, tiling);
  const bool gradient = product == Product::kKernelGradient;
  if (const int error = LaunchBuildLists(tiling, mask, gradient ? nullptr : second, lists, stream))
    return error;
  return gradient ? LaunchKernelGradient(tiling, first, second, mask, lists, result, stream)
                  : LaunchMultiply(tiling, first, lists, result, stream);
}

}  // namespace keras_sparse
