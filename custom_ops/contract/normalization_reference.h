// What is right: the obvious loops, in double precision. The kernels are tested against them.
#pragma once

#include <cmath>
#include <vector>

#include "custom_ops/contract/normalization.h"

namespace keras_sparse::reference {

struct Moments {
  std::vector<double> mean, variance;
};

inline double Square(double x) { return x * x; }

inline Moments BatchMoments(const Normalization& n, const void* inputs) {
  Moments moments = {std::vector<double>(n.channels), std::vector<double>(n.channels)};
  for (int64_t c = 0; c < n.channels; ++c) {
    for (int64_t r = 0; r < n.rows; ++r)
      moments.mean[c] += FloatAt(n.type, inputs, r * n.channels + c) / double(n.rows);
    for (int64_t r = 0; r < n.rows; ++r)
      moments.variance[c] +=
          Square(FloatAt(n.type, inputs, r * n.channels + c) - moments.mean[c]) / double(n.rows);
  }
  return moments;
}

// Before the activation.
inline std::vector<double> Normal(const Normalization& n, const void* inputs,
                                  const ChannelValues& channels) {
  std::vector<double> outputs(n.rows * n.channels);
  for (int64_t i = 0; i < n.rows * n.channels; ++i) {
    const int64_t c = i % n.channels;
    const double deviation = std::sqrt(double(channels.variance[c]) + n.epsilon);
    outputs[i] =
        channels.scale[c] * (FloatAt(n.type, inputs, i) - double(channels.mean[c])) / deviation +
        channels.offset[c];
  }
  return outputs;
}

inline std::vector<double> BatchNorm(const Normalization& n, const void* inputs,
                                     const ChannelValues& channels) {
  std::vector<double> outputs = Normal(n, inputs, channels);
  for (double& z : outputs)
    z = WithActivation(n.activation, [&](auto activation) { return activation.Outputs(z); });
  return outputs;
}

struct Gradients {
  std::vector<double> inputs, scale, offset;
};

inline Gradients BatchNormGradient(const Normalization& n, const void* output_gradient,
                                   const void* inputs, const ChannelValues& channels,
                                   const void* addend) {
  const std::vector<double> before = Normal(n, inputs, channels);
  Gradients sums = {std::vector<double>(n.rows * n.channels), std::vector<double>(n.channels),
                    std::vector<double>(n.channels)};
  const auto gradient = [&](int64_t i) {
    return WithActivation(n.activation, [&](auto activation) {
      return activation.Gradient(before[i], double(FloatAt(n.type, output_gradient, i)));
    });
  };
  const auto normal = [&](int64_t i) {
    const int64_t c = i % n.channels;
    return (FloatAt(n.type, inputs, i) - double(channels.mean[c])) /
           std::sqrt(double(channels.variance[c]) + n.epsilon);
  };
  for (int64_t i = 0; i < n.rows * n.channels; ++i) {
    sums.scale[i % n.channels] += gradient(i) * normal(i);
    sums.offset[i % n.channels] += gradient(i);
  }
  for (int64_t i = 0; i < n.rows * n.channels; ++i) {
    const int64_t c = i % n.channels;
    const double factor = channels.scale[c] / std::sqrt(double(channels.variance[c]) + n.epsilon);
    sums.inputs[i] =
        factor * (gradient(i) - (sums.offset[c] + normal(i) * sums.scale[c]) / double(n.rows));
    if (addend != nullptr) sums.inputs[i] += FloatAt(n.type, addend, i);
  }
  return sums;
}

}  // namespace keras_sparse::reference
