// The masked step for processors with AVX-512.
#include "custom_ops/cpu/step_loops.h"

#ifndef __AVX512F__
#error "This file is built with AVX-512."
#endif

namespace keras_sparse {

const StepKernels* Avx512Step() { return avx512::StepNamed("AVX-512"); }

}  // namespace keras_sparse
