// Batch normalization for processors with AVX2.
#include "custom_ops/cpu/normalization_loops.h"

#ifndef __AVX2__
#error "This file is built with AVX2."
#endif

namespace keras_sparse {

const NormalizationKernels* Avx2Normalization(ElementType type) {
  return avx2::NormalizationNamed("AVX2", type);
}

}  // namespace keras_sparse
