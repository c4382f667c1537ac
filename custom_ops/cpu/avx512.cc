// The loops for processors with AVX-512. Built with -mavx512f -mavx512bw -mavx512dq -mavx512vl
// -mfma.
#include "custom_ops/cpu/block_loops.h"
#include "custom_ops/cpu/loops.h"

#ifndef __AVX512F__
#error "This file is built with AVX-512."
#endif

namespace keras_sparse {

const Kernels* Avx512Kernels() {
  static const Kernels kernels = {"AVX-512",
                                  avx512::kLanes,
                                  avx512::kMaxSums,
                                  avx512::BufferFloats,
                                  avx512::MultiplyAny,
                                  avx512::GradientAny,
                                  avx512::BlockBufferFloats,
                                  avx512::MultiplyTilesAny,
                                  avx512::GradientTilesAny};
  return &kernels;
}

}  // namespace keras_sparse
