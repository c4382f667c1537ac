// The CUDA cores for Python, through ctypes: for tests and benchmarks without TensorFlow.
//
// `product`: 0, 1, 2 in the order of its enum; `structure`: 0 weights, 1 channel pairs. A .cu file
// though it has no kernel: the libraries that are built without CUDA leave these functions out,
// too.
#include "custom_ops/contract/c_api.h"
#include "custom_ops/cuda/cores.h"

namespace keras_sparse {
namespace {

Convolution ConvolutionOf(const int64_t* sizes, int structure) {
  return {SizesOf(sizes), ElementType::kFloat32,
          structure == 1 ? MaskStructure::ChannelPairs() : MaskStructure::Weights()};
}

}  // namespace
}  // namespace keras_sparse

// nullptr if it runs.
extern "C" const char* keras_sparse_why_not_on_cuda_cores(int product, const int64_t* sizes,
                                                          int structure) {
  using namespace keras_sparse;
  return WhyNotOnCudaCores(static_cast<Product>(product), ConvolutionOf(sizes, structure));
}

extern "C" int64_t keras_sparse_cuda_cores_workspace(int product, const int64_t* sizes,
                                                     int structure) {
  using namespace keras_sparse;
  return CudaCoresWorkspace(static_cast<Product>(product), ConvolutionOf(sizes, structure));
}

// 0 or the cudaError_t.
extern "C" int keras_sparse_run_on_cuda_cores(int product, const int64_t* sizes, int structure,
                                              const bool* mask, const float* first,
                                              const float* second, float* result, void* workspace,
                                              void* stream) {
  using namespace keras_sparse;
  return RunOnCudaCores(static_cast<Product>(product), ConvolutionOf(sizes, structure), mask, first,
                        second, result, workspace, stream);
}
