// What the loops of the masked step compute: of some weights that follow each other.
#pragma once

#include <cstdint>
#include <type_traits>

#include "custom_ops/contract/masked_step.h"

namespace keras_sparse {

template <class Step>
struct StepLoops {
  void (*by_gradient)(const Step& step, int64_t count, const bool* mask, const float* gradient,
                      float* weight, Moments moments);
  // With the mask as bits, 16 a word, and a list of the active weights' gradients; `values` gets
  // these weights, or is null. Null: these instructions cannot expand a list.
  void (*by_list)(const Step& step, int64_t count, const uint16_t* bits, const float* list,
                  float* weight, Moments moments, float* values);
};

struct StepKernels {
  const char* name;
  StepLoops<MomentumStep> momentum;
  StepLoops<AdamStep> adam;

  template <class Step>
  const StepLoops<Step>& Of() const {
    if constexpr (std::is_same_v<Step, MomentumStep>)
      return momentum;
    else
      return adam;
  }
};

const StepKernels* PortableStep();
const StepKernels* Avx2Step();
const StepKernels* Avx512Step();

// Those for a set of instructions, by its name; the processor must have them.
const StepKernels& StepFor(const char* instructions);

// The functions of contract/masked_step.h, by these loops; those take the best.
template <class Step>
void ApplyMaskedStep(const StepKernels& kernels, const Step& step, int64_t count, const bool* mask,
                     const float* gradient, float* weight, Moments moments,
                     const Parallel& parallel);
std::unique_ptr<ActivePlaces> MakeActivePlaces(const StepKernels& kernels, const bool* mask,
                                               int64_t count);

}  // namespace keras_sparse
