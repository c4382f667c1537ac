// The answers where the kernels in CUDA were not compiled: weak functions, whose place those of the
// .cu files take.
#include "custom_ops/cuda/cores.h"

namespace keras_sparse {

__attribute__((weak)) const char* WhyNotOnCudaCores(Product, const Convolution&) {
  return "`structure` must be \"blocks\" on GPUs: the compiled ops were built without the kernels "
         "in "
         "CUDA, as nvcc was not there";
}

__attribute__((weak)) int64_t CudaCoresWorkspace(Product, const Convolution&) { return 0; }

__attribute__((weak)) int RunOnCudaCores(Product, const Convolution&, const bool*, const float*,
                                         const float*, float*, void*, void*) {
  return 100;  // cudaErrorNoDevice
}

}  // namespace keras_sparse
