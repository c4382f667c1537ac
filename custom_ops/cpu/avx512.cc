// The loops for processors with AVX-512. Built with -mavx512f -mavx512bw -mavx512dq -mavx512vl
// -mfma.
#include "custom_ops/cpu/block_loops.h"
#include "custom_ops/cpu/few_rows_loops.h"
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

const RowLoops* Avx512RowLoops() {
  static const RowLoops loops = {avx512::kLanes, avx512::RowBufferFloats, avx512::MultiplyRows};
  return &loops;
}

}  // namespace keras_sparse
