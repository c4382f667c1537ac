// A step of an optimizer and the mask in one pass over memory.
//
// SGD:   momentum <- decay * momentum - learning rate * gradient
//        weight   <- weight + momentum; Nesterov's: weight + decay * momentum - rate * gradient
// Adam:  momentum <- momentum + (gradient - momentum) * (1 - beta_1)
//        velocity <- velocity + (gradient^2 - velocity) * (1 - beta_2)
//        weight   <- weight - momentum * rate / (sqrt(velocity) + epsilon)
// Then:  missing weights <- 0
//
// Missing weights have moments, too: growing needs them. While the growth window is closed their
// gradients are 0 and their moments fade. To skip cache lines without an active weight saves
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

struct AdamStep {
  float rate;  // the learning rate with both corrections of the first steps
  float one_minus_beta_1;
  float one_minus_beta_2;
  float epsilon;
};

// What the optimizer keeps of the gradients of each weight.
struct Moments {
  float* momentum;
  float* velocity;  // Adam's alone
};

// All arrays hold `count` elements, contiguous, aligned to nothing but their elements; none
// overlaps another.
void ApplyMaskedStep(const MomentumStep& step, int64_t count, const bool* mask,
                     const float* gradient, float* weight, Moments moments,
                     const Parallel& parallel);
void ApplyMaskedStep(const AdamStep& step, int64_t count, const bool* mask, const float* gradient,
                     float* weight, Moments moments, const Parallel& parallel);

// Where a mask has its active weights: computed once for a mask. Immutable.
class ActivePlaces {
 public:
  virtual ~ActivePlaces() = default;

  virtual int64_t active() const = 0;

  // As ApplyMaskedStep does, with the same bits, for a gradient that is 0 where weights are
  // missing: `list` has those of the active weights, in the mask's order. `values`: gets the active
  // weights after the step, in the same order; or null.
  virtual void ApplyMaskedStep(const MomentumStep& step, const bool* mask, const float* list,
                               float* weight, Moments moments, float* values,
                               const Parallel& parallel) const = 0;
  virtual void ApplyMaskedStep(const AdamStep& step, const bool* mask, const float* list,
                               float* weight, Moments moments, float* values,
                               const Parallel& parallel) const = 0;
};

std::unique_ptr<ActivePlaces> MakeActivePlaces(const bool* mask, int64_t count);

}  // namespace keras_sparse
