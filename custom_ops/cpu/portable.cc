// The loops for every other processor, in vectors of 4 lanes that any compiler knows.
#include "custom_ops/cpu/few_rows_loops.h"
#include "custom_ops/cpu/kernels_of.h"

namespace keras_sparse {

const Kernels* PortableKernels() {
  static const Kernels kernels = portable::KernelsNamed("portable");
  return &kernels;
}

const RowLoops* PortableRowLoops() {
  static const RowLoops loops = {portable::kLanes, portable::RowBufferFloats,
                                 portable::MultiplyRows};
  return &loops;
}

}  // namespace keras_sparse
