// The masked step for processors with AVX2.
#include "custom_ops/cpu/step_loops.h"

#if !defined(__AVX2__)
#error "This file is built with AVX2."
#endif

namespace keras_sparse {

const StepKernels* Avx2Step() { return avx2::StepNamed("AVX2"); }

}  // namespace keras_sparse
