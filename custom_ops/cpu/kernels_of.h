// What a file that is compiled for one set of instructions gives to the plans: its loops for each
// type of elements.
#pragma once

#include "custom_ops/cpu/block_loops.h"
#include "custom_ops/cpu/loops.h"

namespace keras_sparse::KERAS_SPARSE_INSTRUCTIONS {

template <class Elements>
constexpr Loops LoopsFor() {
  return {MultiplyAny<Elements>,      GradientAny<Elements>,      BothGradientsAny<Elements>,
          MultiplyTilesAny<Elements>, GradientTilesAny<Elements>, BothGradientsTilesAny<Elements>};
}

#define KS_LOOPS(NAME) LoopsFor<NAME>(),
inline Kernels KernelsNamed(const char* name) {
  return {name, kLanes, kMaxSums, BufferFloats, BlockBufferFloats, {KS_ELEMENT_TYPES(KS_LOOPS)}};
}
#undef KS_LOOPS

}  // namespace keras_sparse::KERAS_SPARSE_INSTRUCTIONS
