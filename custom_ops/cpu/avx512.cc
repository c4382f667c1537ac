// The loops for processors with AVX-512. Built with -mavx512f -mavx512bw -mavx512dq -mavx512vl
// -mfma.
#include "custom_ops/cpu/few_rows_loops.h"
#include "custom_ops/cpu/kernels_of.h"

#ifndef __AVX512F__
#error "This file is built with AVX-512."
#endif

namespace keras_sparse {

const Kernels* Avx512Kernels() {
  static const Kernels kernels = avx512::KernelsNamed("AVX-512");
  return &kernels;
}

const Kernels* AmxKernels() {
  static const Kernels kernels = [] {
    Kernels all = *Avx512Kernels();
    all.name = "AMX", all.matrices = AmxBlockLoops();
    return all;
  }();
  return kernels.matrices == nullptr ? nullptr : &kernels;
}

const RowLoops* Avx512RowLoops() {
  static const RowLoops loops = {avx512::kLanes, avx512::RowBufferFloats, avx512::MultiplyRows};
  return &loops;
}

}  // namespace keras_sparse
