// The arguments that batch normalization takes: one check for the CPU kernels and the XLA
// lowerings.
//
//   KerasSparse>BatchMoments       inputs
//   KerasSparse>BatchNorm          inputs, scale, offset, mean, variance
//   KerasSparse>BatchNormGradient  the same, output_gradient, and at most one addend
#pragma once

#include <string>

#include "custom_ops/contract/normalization.h"
#include "custom_ops/tensorflow/check.h"
#include "tensorflow/core/framework/node_def_util.h"

namespace keras_sparse {

enum NormalizationInput { kNormInputs, kScale, kOffset, kMean, kVariance, kNormGradient, kAddend };

// The attribute `activation` of the ops: one of the names.
inline std::string ActivationAttribute() {
  std::string names;
  for (const char* name : kActivationNames)
    absl::StrAppend(&names, names.empty() ? "'" : ", '", name, "'");
  return absl::StrCat("activation: {", names, "} = '", NameOf(Activation::kNone), "'");
}

// Graphs of version 0.1.0 have the attribute `relu` in its place.
inline absl::Status ReadActivation(const tensorflow::AttrSlice& attributes,
                                   Activation* activation) {
  std::string name;
  bool relu = false;
  TF_RETURN_IF_ERROR(tensorflow::GetNodeAttr(attributes, "activation", &name));
  TF_RETURN_IF_ERROR(tensorflow::GetNodeAttr(attributes, "relu", &relu));
  for (const Activation one : kActivations)
    if (name == NameOf(one)) *activation = one;
  if (relu && *activation != Activation::kNone)
    return absl::InvalidArgumentError(absl::StrCat(
        "`relu` is for graphs without `activation`. Received: relu=true, activation=", name));
  if (relu) *activation = Activation::kRelu;
  return absl::OkStatus();
}

// Reads the attributes that the ops have in common.
inline absl::Status ReadNormalization(tensorflow::OpKernelConstruction* context,
                                      Normalization* normalization) {
  TF_RETURN_IF_ERROR(context->GetAttr("epsilon", &normalization->epsilon));
  return ReadActivation(tensorflow::AttrSlice(context->def()), &normalization->activation);
}

// Sets rows and channels.
template <class Context>
absl::Status CheckNormalization(Context* context, Normalization* normalization) {
  const tensorflow::TensorShape inputs = ShapeOf(context, kNormInputs);
  if (inputs.dims() == 0) return BadShape("inputs", "have an axis of channels", inputs);
  normalization->channels = inputs.dim_size(inputs.dims() - 1);
  normalization->rows = 1;
  for (int axis = 0; axis + 1 < inputs.dims(); ++axis) normalization->rows *= inputs.dim_size(axis);
  constexpr const char* kNames[] = {"inputs", "scale", "offset", "mean", "variance"};
  for (int input = kScale; input <= kVariance && input < context->num_inputs(); ++input) {
    const tensorflow::TensorShape shape = ShapeOf(context, input);
    if (shape.dims() != 1 || shape.dim_size(0) != normalization->channels)
      return BadShape(kNames[input], absl::StrCat("have the shape [", normalization->channels, "]"),
                      shape);
  }
  for (int input = kNormGradient; input < context->num_inputs(); ++input)
    if (ShapeOf(context, input) != inputs)
      return BadShape(input == kAddend ? "addends" : "output_gradient",
                      absl::StrCat("have the shape of `inputs`, ", inputs.DebugString()),
                      ShapeOf(context, input));
  return absl::OkStatus();
}

}  // namespace keras_sparse
