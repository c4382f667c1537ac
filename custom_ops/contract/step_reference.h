// What is right: the obvious loops, in double precision. The kernels are tested against them.
#pragma once

#include <cmath>
#include <vector>

#include "custom_ops/contract/masked_step.h"

namespace keras_sparse::reference {

struct MomentsOfDoubles {
  std::vector<double> momentum, velocity;
};

inline void StepOne(const MomentumStep& step, double gradient, double& weight, double& momentum,
                    double&) {
  const double change = double(step.learning_rate) * gradient;
  momentum = step.decay * momentum - change;
  weight += step.use_nesterov ? step.decay * momentum - change : momentum;
}

inline void StepOne(const AdamStep& step, double gradient, double& weight, double& momentum,
                    double& velocity) {
  momentum += (gradient - momentum) * step.one_minus_beta_1;
  velocity += (gradient * gradient - velocity) * step.one_minus_beta_2;
  weight -= momentum * step.rate / (std::sqrt(velocity) + step.epsilon);
}

template <class Step>
void ApplyMaskedStep(const Step& step, const bool* mask, const float* gradient,
                     std::vector<double>& weight, MomentsOfDoubles& moments) {
  for (size_t i = 0; i < weight.size(); ++i) {
    StepOne(step, gradient[i], weight[i], moments.momentum[i], moments.velocity[i]);
    if (!mask[i]) weight[i] = 0;
  }
}

}  // namespace keras_sparse::reference
