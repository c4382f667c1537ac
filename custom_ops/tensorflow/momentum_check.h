// The arguments that the step of a masked weight takes: one check for the CPU kernel and the XLA
// lowering.
#pragma once

#include "custom_ops/tensorflow/check.h"

namespace keras_sparse {

// The inputs of KerasSparse>ApplyMaskedMomentum.
enum MomentumInput { kVar, kMomentumVar, kMask, kGradient, kLearningRate, kMomentum };

// All but the variables themselves, whose shapes are passed. `takes_list`: the gradient may be a
// list; how long it must be, only the mask's values say.
template <class Context>
absl::Status CheckMomentumStep(Context* context, const tensorflow::TensorShape& var,
                               const tensorflow::TensorShape& momentum_var,
                               bool takes_list = false) {
  const auto as_var = [&](const char* name, const tensorflow::TensorShape& shape) {
    if (shape == var) return absl::OkStatus();
    return BadShape(name, absl::StrCat("have the shape of `var`, ", var.DebugString()), shape);
  };
  TF_RETURN_IF_ERROR(as_var("momentum_var", momentum_var));
  TF_RETURN_IF_ERROR(as_var("mask", ShapeOf(context, kMask)));
  if (!takes_list) TF_RETURN_IF_ERROR(as_var("gradient", ShapeOf(context, kGradient)));
  if (ShapeOf(context, kLearningRate).dims() != 0)
    return BadShape("learning_rate", "be a scalar", ShapeOf(context, kLearningRate));
  if (ShapeOf(context, kMomentum).dims() != 0)
    return BadShape("momentum", "be a scalar", ShapeOf(context, kMomentum));
  return absl::OkStatus();
}

}  // namespace keras_sparse
