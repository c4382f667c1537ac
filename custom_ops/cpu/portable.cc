// The loops for every other processor, in vectors of 4 lanes that any compiler knows.
#include "custom_ops/cpu/block_loops.h"
#include "custom_ops/cpu/few_rows_loops.h"
#include "custom_ops/cpu/loops.h"

namespace keras_sparse {

const Kernels* PortableKernels() {
  static const Kernels kernels = {"portable",
                                  portable::kLanes,
                                  portable::kMaxSums,
                                  portable::BufferFloats,
                                  portable::MultiplyAny,
                                  portable::GradientAny,
                                  portable::BlockBufferFloats,
                                  portable::MultiplyTilesAny,
                                  portable::GradientTilesAny};
  return &kernels;
}

const RowLoops* PortableRowLoops() {
  static const RowLoops loops = {portable::kLanes, portable::RowBufferFloats,
                                 portable::MultiplyRows};
  return &loops;
}

}  // namespace keras_sparse
