// What answers where the kernels in CUDA were not compiled? Weak functions: those of the .cu files
// take their place.
#include "custom_ops/cuda/cores.h"

namespace keras_sparse {

__attribute__((weak)) const char* WhyNotOnCudaCores(Product, const ConvSizes&, MaskStructure) {
  return "the compiled ops were built without the kernels in CUDA: nvcc was not there";
}

__attribute__((weak)) int64_t CudaCoresWorkspace(Product, const ConvSizes&, MaskStructure) {
  return 0;
}

__attribute__((weak)) int RunOnCudaCores(Product, const ConvSizes&, MaskStructure, const bool*,
                                         const float*, const float*, float*, void*, void*) {
  return 100;  // cudaErrorNoDevice
}

}  // namespace keras_sparse
