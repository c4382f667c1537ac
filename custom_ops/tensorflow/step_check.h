// The arguments that the step of a masked weight takes: one check for the CPU kernels and the XLA
// lowerings.
#pragma once

#include <vector>

#include "custom_ops/contract/masked_step.h"
#include "custom_ops/tensorflow/check.h"

namespace keras_sparse {

constexpr char kMomentumOp[] = "KerasSparse>ApplyMaskedMomentum";
constexpr char kAdamOp[] = "KerasSparse>ApplyMaskedAdam";

// The inputs of both begin with these.
enum StepInput { kVar, kMomentumVar, kMask, kGradient };
enum MomentumInput { kLearningRate = kGradient + 1, kMomentum };
enum AdamInput { kVelocityVar = kGradient + 1, kRate, kOneMinusBeta1, kOneMinusBeta2, kEpsilon };

// An input and its name.
struct NamedInput {
  int input;
  const char* name;
};

// The variables of a step, and its scalars.
template <class Step>
const std::vector<NamedInput>& VariablesOf();
template <class Step>
const std::vector<NamedInput>& ScalarsOf();

template <>
inline const std::vector<NamedInput>& VariablesOf<MomentumStep>() {
  static const std::vector<NamedInput> all = {{kVar, "var"}, {kMomentumVar, "momentum_var"}};
  return all;
}

template <>
inline const std::vector<NamedInput>& VariablesOf<AdamStep>() {
  static const std::vector<NamedInput> all = {
      {kVar, "var"}, {kMomentumVar, "momentum_var"}, {kVelocityVar, "velocity_var"}};
  return all;
}

template <>
inline const std::vector<NamedInput>& ScalarsOf<MomentumStep>() {
  static const std::vector<NamedInput> all = {{kLearningRate, "learning_rate"},
                                              {kMomentum, "momentum"}};
  return all;
}

template <>
inline const std::vector<NamedInput>& ScalarsOf<AdamStep>() {
  static const std::vector<NamedInput> all = {{kRate, "rate"},
                                              {kOneMinusBeta1, "one_minus_beta_1"},
                                              {kOneMinusBeta2, "one_minus_beta_2"},
                                              {kEpsilon, "epsilon"}};
  return all;
}

// `shapes` are those of the variables, the weight's first. `takes_list`: the gradient may be a
// list; how long it must be, only the mask's values say.
template <class Step, class Context>
absl::Status CheckStep(Context* context, const std::vector<tensorflow::TensorShape>& shapes,
                       bool takes_list = false) {
  const tensorflow::TensorShape& var = shapes[0];
  const auto as_var = [&](const char* name, const tensorflow::TensorShape& shape) {
    if (shape == var) return absl::OkStatus();
    return BadShape(name, absl::StrCat("have the shape of `var`, ", var.DebugString()), shape);
  };
  for (size_t i = 1; i < shapes.size(); ++i)
    TF_RETURN_IF_ERROR(as_var(VariablesOf<Step>()[i].name, shapes[i]));
  TF_RETURN_IF_ERROR(as_var("mask", ShapeOf(context, kMask)));
  if (!takes_list) TF_RETURN_IF_ERROR(as_var("gradient", ShapeOf(context, kGradient)));
  for (const NamedInput& scalar : ScalarsOf<Step>())
    if (ShapeOf(context, scalar.input).dims() != 0)
      return BadShape(scalar.name, "be a scalar", ShapeOf(context, scalar.input));
  return absl::OkStatus();
}

}  // namespace keras_sparse
