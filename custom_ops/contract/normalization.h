// Batch normalization in a training step, with the activation behind it, in as few passes as it
// takes: one for the moments, one for the outputs, and two for the gradient.
//
//   outputs = activation(scale * (inputs - mean) / sqrt(variance + epsilon) + offset)
//
// The gradient is the one by the inputs from which mean and variance were computed. It recomputes
// what the activation was applied to, so that nobody has to keep it. `addend`, if not null, is
// added to the gradient by the inputs: what the inputs' other readers hand back.
#pragma once

#include <cstdint>

#include "custom_ops/contract/activation.h"
#include "custom_ops/contract/element_type.h"
#include "custom_ops/contract/parallel.h"

namespace keras_sparse {

// Arrays of [rows][channels] of the type: every axis but the last is one. Values of channels and
// all sums are floats.
struct Normalization {
  int64_t rows;
  int64_t channels;
  float epsilon;
  Activation activation;
  ElementType type = ElementType::kFloat32;
};

// Of each channel.
struct ChannelValues {
  const float* scale;
  const float* offset;
  const float* mean;
  const float* variance;
};

// The variance is the biased one. Both are not a number where there are no rows.
void BatchMoments(const Normalization& normalization, const void* inputs, float* mean,
                  float* variance, const Parallel& parallel);

// `outputs` may be `inputs`.
void BatchNorm(const Normalization& normalization, const void* inputs,
               const ChannelValues& channels, void* outputs, const Parallel& parallel);

// `input_gradient` may be `output_gradient` or `addend`.
void BatchNormGradient(const Normalization& normalization, const void* output_gradient,
                       const void* inputs, const ChannelValues& channels, const void* addend,
                       void* input_gradient, float* scale_gradient, float* offset_gradient,
                       const Parallel& parallel);

}  // namespace keras_sparse
