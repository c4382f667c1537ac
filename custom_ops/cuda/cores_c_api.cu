// How are the CUDA cores called from Python? Through ctypes: for tests and benchmarks without
// TensorFlow.
//
// `sizes`: the 13 numbers of ConvSizes in order; `product`: 0, 1, 2 and `structure`: 0, 1 in the
// order of their enums. A .cu file though it has no kernel: the libraries that are built without
// CUDA leave these functions out, too.
#include <cstring>

#include "custom_ops/cuda/cores.h"

namespace keras_sparse {
namespace {

ConvSizes SizesOf(const int64_t* numbers) {
  static_assert(sizeof(ConvSizes) == 13 * sizeof(int64_t));
  ConvSizes sizes = {};
  std::memcpy(&sizes, numbers, sizeof sizes);
  return sizes;
}

}  // namespace
}  // namespace keras_sparse

// nullptr if it runs.
extern "C" const char* keras_sparse_why_not_on_cuda_cores(int product, const int64_t* sizes,
                                                          int structure) {
  using namespace keras_sparse;
  return WhyNotOnCudaCores(static_cast<Product>(product), SizesOf(sizes),
                           static_cast<MaskStructure>(structure));
}

extern "C" int64_t keras_sparse_cuda_cores_workspace(int product, const int64_t* sizes,
                                                     int structure) {
  using namespace keras_sparse;
  return CudaCoresWorkspace(static_cast<Product>(product), SizesOf(sizes),
                            static_cast<MaskStructure>(structure));
}

// 0 or the cudaError_t.
extern "C" int keras_sparse_run_on_cuda_cores(int product, const int64_t* sizes, int structure,
                                              const bool* mask, const float* first,
                                              const float* second, float* result, void* workspace,
                                              void* stream) {
  using namespace keras_sparse;
  return RunOnCudaCores(static_cast<Product>(product), SizesOf(sizes),
                        static_cast<MaskStructure>(structure), mask, first, second, result,
                        workspace, stream);
}
