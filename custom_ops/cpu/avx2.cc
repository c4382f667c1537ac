// The loops for processors with AVX2. Built with -mavx2 -mfma.
#include "custom_ops/cpu/block_loops.h"
#include "custom_ops/cpu/few_rows_loops.h"
#include "custom_ops/cpu/loops.h"

#ifndef __AVX2__
#error "This file is built with AVX2."
#endif

namespace keras_sparse {

const Kernels* Avx2Kernels() {
  static const Kernels kernels = {"AVX2",
                                  avx2::kLanes,
                                  avx2::kMaxSums,
                                  avx2::BufferFloats,
                                  avx2::MultiplyAny,
                                  avx2::GradientAny,
                                  avx2::BlockBufferFloats,
                                  avx2::MultiplyTilesAny,
                                  avx2::GradientTilesAny};
  return &kernels;
}

const RowLoops* Avx2RowLoops() {
  static const RowLoops loops = {avx2::kLanes, avx2::RowBufferFloats, avx2::MultiplyRows};
  return &loops;
}

}  // namespace keras_sparse
