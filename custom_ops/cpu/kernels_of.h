// What a file that is compiled for one set of instructions gives to the plans: its loops for each
// type of elements.
#pragma once

#include "custom_ops/cpu/block_loops.h"
#include "custom_ops/cpu/loops.h"

namespace keras_sparse::KERAS_SPARSE_INSTRUCTIONS {

template <class Elements>
constexpr Loops LoopsFor() {
  return {MultiplyAny<Elements>, GradientAny<Elements>, MultiplyTilesAny<Elements>,
          GradientTilesAny<Elements>};
}

inline Kernels KernelsNamed(const char* name) {
  return {name,
          kLanes,
          kMaxSums,
          BufferFloats,
          BlockBufferFloats,
          {LoopsFor<Float32>(), LoopsFor<BFloat16>(), LoopsFor<Float16>()}};
}

}  // namespace keras_sparse::KERAS_SPARSE_INSTRUCTIONS
