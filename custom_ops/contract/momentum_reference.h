// What is right: the obvious loop, in double precision. The kernel is tested against it.
#pragma once

#include <vector>

#include "custom_ops/contract/masked_momentum.h"

namespace keras_sparse::reference {

inline void ApplyMaskedMomentum(const MomentumStep& step, const bool* mask, const float* gradient,
                                std::vector<double>& weight, std::vector<double>& momentum) {
  for (size_t i = 0; i < weight.size(); ++i) {
    const double change = double(step.learning_rate) * gradient[i];
    momentum[i] = step.decay * momentum[i] - change;
    weight[i] += step.use_nesterov ? step.decay * momentum[i] - change : momentum[i];
    if (!mask[i]) weight[i] = 0;
  }
}

}  // namespace keras_sparse::reference
