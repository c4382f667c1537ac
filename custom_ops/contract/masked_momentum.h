// A step of gradient descent with momentum, and the mask, in one pass over memory.
//
//   momentum <- decay * momentum - learning rate * gradient
//   weight   <- weight + momentum; Nesterov's: weight + decay * momentum - learning rate * gradient
//   missing weights <- 0
//
// Missing weights have a momentum, too: growing needs it. While the growth window is closed their
// gradients are 0 and their momentum fades. To skip cache lines without an active weight saves
// nothing then: it was measured from a density of 1 % on, and the processor fetches them anyway.
#pragma once

#include <cstdint>
#include <memory>

#include "custom_ops/contract/parallel.h"

namespace keras_sparse {

struct MomentumStep {
  float learning_rate;
  float decay;
  bool use_nesterov;
};

// All arrays hold `count` elements, contiguous, aligned to nothing but their elements; none
// overlaps another.
void ApplyMaskedMomentum(const MomentumStep& step, int64_t count, const bool* mask,
                         const float* gradient, float* weight, float* momentum,
                         const Parallel& parallel);

// Where a mask has its active weights: computed once for a mask. Immutable.
class ActivePlaces {
 public:
  virtual ~ActivePlaces() = default;

  virtual int64_t active() const = 0;

  // As ApplyMaskedMomentum does, with the same bits, for a gradient that is 0 where weights are
  // missing: `list` has those of the active weights, in the mask's order. `values`: gets the active
  // weights after the step, in the same order; or null.
  virtual void ApplyMaskedMomentum(const MomentumStep& step, const bool* mask, const float* list,
                                   float* weight, float* momentum, float* values,
                                   const Parallel& parallel) const = 0;
};

std::unique_ptr<ActivePlaces> MakeActivePlaces(const bool* mask, int64_t count);

}  // namespace keras_sparse
