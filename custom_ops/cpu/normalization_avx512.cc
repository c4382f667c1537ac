// Batch normalization for processors with AVX-512.
#include "custom_ops/cpu/normalization_loops.h"

#ifndef __AVX512F__
#error "This file is built with AVX-512."
#endif

namespace keras_sparse {

const NormalizationKernels* Avx512Normalization(ElementType type) {
  return avx512::NormalizationNamed("AVX-512", type);
}

}  // namespace keras_sparse
