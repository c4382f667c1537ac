// The masked step for processors with AVX2.
#include "custom_ops/cpu/momentum_loops.h"

#if !defined(__AVX2__)
#error "This file is built with AVX2."
#endif

namespace keras_sparse {

const MomentumKernels* Avx2Momentum() { return avx2::MomentumNamed("AVX2"); }

}  // namespace keras_sparse
