// What the loops of the masked step compute: of some weights that follow each other.
#pragma once

#include <cstdint>

#include "custom_ops/contract/masked_momentum.h"

namespace keras_sparse {

struct MomentumKernels {
  const char* name;
  void (*step)(const MomentumStep& step, int64_t count, const bool* mask, const float* gradient,
               float* weight, float* momentum);
  // With the mask as bits, 16 a word, and a list of the active weights' gradients; `values` gets
  // these weights, or is null. Null: these instructions cannot expand a list.
  void (*step_by_list)(const MomentumStep& step, int64_t count, const uint16_t* bits,
                       const float* list, float* weight, float* momentum, float* values);
};

const MomentumKernels* PortableMomentum();
const MomentumKernels* Avx2Momentum();
const MomentumKernels* Avx512Momentum();

// Those for a set of instructions, by its name; the processor must have them.
const MomentumKernels& MomentumFor(const char* instructions);

// The functions of contract/masked_momentum.h, by these loops; those take the best.
void ApplyMaskedMomentum(const MomentumKernels& kernels, const MomentumStep& step, int64_t count,
                         const bool* mask, const float* gradient, float* weight, float* momentum,
                         const Parallel& parallel);
std::unique_ptr<ActivePlaces> MakeActivePlaces(const MomentumKernels& kernels, const bool* mask,
                                               int64_t count);

}  // namespace keras_sparse
