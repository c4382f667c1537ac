// What the loops of batch normalization compute: of some rows of one type, all channels.
#pragma once

#include <cstdint>

#include "custom_ops/contract/normalization.h"

namespace keras_sparse {

// Constants of each channel.
struct NormalizationFactors {
  const float* mean;
  const float* factor;  // scale / sqrt(variance + epsilon)
  const float* offset;
  // Of the gradient: input gradient = factor * g + by_deviation * (input - mean) + constant, where
  // g is the gradient by what the activation was applied to.
  const float* by_deviation;
  const float* constant;
};

struct NormalizationKernels {
  const char* name;
  // The mean of each channel, and its sum of squared deviations from that mean.
  void (*moments)(int64_t rows, int64_t channels, const void* inputs, float* mean, float* squares);
  // `is_large`: no cache holds the results until they are read again.
  void (*normalize)(int64_t rows, int64_t channels, Activation activation, bool is_large,
                    const void* inputs, const NormalizationFactors& factors, void* outputs);
  // The sums of g, and of g * (input - mean).
  void (*gradient_sums)(int64_t rows, int64_t channels, Activation activation,
                        const void* output_gradient, const void* inputs,
                        const NormalizationFactors& factors, float* sums, float* deviation_sums);
  void (*input_gradient)(int64_t rows, int64_t channels, Activation activation, bool is_large,
                         const void* output_gradient, const void* inputs,
                         const NormalizationFactors& factors, const void* addend,
                         void* input_gradient);
};

const NormalizationKernels* PortableNormalization(ElementType type);
const NormalizationKernels* Avx2Normalization(ElementType type);
const NormalizationKernels* Avx512Normalization(ElementType type);

// Those for a set of instructions, by its name, and a type; the processor must have them.
const NormalizationKernels& NormalizationFor(const char* instructions, ElementType type);

// The functions of contract/normalization.h, by these loops; those take the best.
void BatchMoments(const NormalizationKernels& kernels, const Normalization& normalization,
                  const void* inputs, float* mean, float* variance, const Parallel& parallel);
void BatchNorm(const NormalizationKernels& kernels, const Normalization& normalization,
               const void* inputs, const ChannelValues& channels, void* outputs,
               const Parallel& parallel);
void BatchNormGradient(const NormalizationKernels& kernels, const Normalization& normalization,
                       const void* output_gradient, const void* inputs,
                       const ChannelValues& channels, const void* addend, void* input_gradient,
                       float* scale_gradient, float* offset_gradient, const Parallel& parallel);

}  // namespace keras_sparse
