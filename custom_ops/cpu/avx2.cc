// The loops for processors with AVX2. Built with -mavx2 -mfma -mf16c.
#include "custom_ops/cpu/few_rows_loops.h"
#include "custom_ops/cpu/kernels_of.h"

#ifndef __AVX2__
#error "This file is built with AVX2."
#endif

namespace keras_sparse {

const Kernels* Avx2Kernels() {
  static const Kernels kernels = avx2::KernelsNamed("AVX2");
  return &kernels;
}

const RowLoops* Avx2RowLoops() {
  static const RowLoops loops = {avx2::kLanes, avx2::RowBufferFloats, avx2::MultiplyRows};
  return &loops;
}

}  // namespace keras_sparse
