// The masked step for processors with AVX-512.
#include "custom_ops/cpu/momentum_loops.h"

#ifndef __AVX512F__
#error "This file is built with AVX-512."
#endif

namespace keras_sparse {

const MomentumKernels* Avx512Momentum() { return avx512::MomentumNamed("AVX-512"); }

}  // namespace keras_sparse
