// The loops for every other processor, in vectors of 4 lanes that any compiler knows.
#include "custom_ops/cpu/loops.h"

namespace keras_sparse {

const Kernels* PortableKernels() {
  static const Kernels kernels = {"portable",
                                  portable::kLanes,
                                  portable::kMaxSums,
                                  portable::BufferFloats,
                                  portable::MultiplyAny,
                                  portable::GradientAny};
  return &kernels;
}

}  // namespace keras_sparse
