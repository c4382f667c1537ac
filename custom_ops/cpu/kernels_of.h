// What a file that is compiled for one set of instructions gives to the plans: its loops for each
// type of elements.
#pragma once

#include "custom_ops/cpu/block_loops.h"
#include "custom_ops/cpu/loops.h"

namespace keras_sparse::KERAS_SPARSE_INSTRUCTIONS {

template <class Elements>
constexpr Loops LoopsFor() {
  return {MultiplyAny<Elements>,
          GradientAny<Elements>,
          BothGradientsAny<Elements>,
          {MultiplyTilesAny<Elements>, GradientTilesAny<Elements>, BothGradientsTilesAny<Elements>,
           BlockBufferFloats, kLanes, kLanes, MostPixels(4), false}};
}

#define KS_LOOPS(NAME) LoopsFor<NAME>(),
inline Kernels KernelsNamed(const char* name) {
  return {name, kLanes, kMaxSums, BufferFloats, {KS_ELEMENT_TYPES(KS_LOOPS)}, nullptr, name};
}
#undef KS_LOOPS

}  // namespace keras_sparse::KERAS_SPARSE_INSTRUCTIONS
