// TensorFlow's names for the types of contract/element_type.h; the ops are registered for these.
#pragma once

#include "custom_ops/contract/element_type.h"
#include "tensorflow/core/framework/types.h"

// For each type: X(its C++ type in TensorFlow, its name in contract/element_type.h, ...).
#define KS_TENSORFLOW_TYPES(X, ...)              \
  X(float, Float32, __VA_ARGS__)                 \
  X(tensorflow::bfloat16, BFloat16, __VA_ARGS__) \
  X(Eigen::half, Float16, __VA_ARGS__)

// The attribute of the ops. Graphs that were saved without it hold float.
#define KS_TYPE_ATTRIBUTE "T: {float, bfloat16, half} = DT_FLOAT"

namespace keras_sparse {

template <typename T>
constexpr ElementType TypeOf();

#define KS_TYPE_OF(TYPE, NAME, ...)      \
  template <>                            \
  constexpr ElementType TypeOf<TYPE>() { \
    return ElementType::k##NAME;         \
  }
KS_TENSORFLOW_TYPES(KS_TYPE_OF)
#undef KS_TYPE_OF

}  // namespace keras_sparse
