// The loops of batch normalization, compiled once for each set of instructions.
#pragma once

#include "custom_ops/cpu/normalization_gradient.h"
#include "custom_ops/cpu/normalization_outputs.h"

namespace keras_sparse::KERAS_SPARSE_INSTRUCTIONS {

template <class Element>
NormalizationKernels NormalizationNamed(const char* name) {
  return {name, Moments<Element>, Normalize<Element>, GradientSums<Element>,
          InputGradient<Element>};
}

// The loops for a type of elements.
#define KS_LOOPS(NAME) NormalizationNamed<NAME>(name),
inline const NormalizationKernels* NormalizationNamed(const char* name, ElementType type) {
  static const NormalizationKernels kernels[] = {KS_ELEMENT_TYPES(KS_LOOPS)};
  return &kernels[static_cast<int>(type)];
}
#undef KS_LOOPS

}  // namespace keras_sparse::KERAS_SPARSE_INSTRUCTIONS
