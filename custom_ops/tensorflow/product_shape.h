// Which shapes do the ops give, as far as their arguments' shapes are known? The shape functions,
// for any Rules.
//
// Only files of this folder may include this one.
#pragma once

#include "tensorflow/core/framework/shape_inference.h"
#include "tensorflow/core/platform/errors.h"

namespace keras_sparse {

template <class Rules>
absl::Status ForwardShape(tensorflow::shape_inference::InferenceContext* c) {
  tensorflow::shape_inference::ShapeHandle kernel, output, flag;
  TF_RETURN_IF_ERROR(c->Merge(c->input(1), c->input(2), &kernel));
  TF_RETURN_IF_ERROR(c->WithRank(c->input(3), 0, &flag));
  TF_RETURN_IF_ERROR(Rules::OutputShape(c, c->input(0), kernel, &output));
  c->set_output(0, output);
  return absl::OkStatus();
}

template <class Rules>
absl::Status InputGradientShape(tensorflow::shape_inference::InferenceContext* c) {
  tensorflow::shape_inference::ShapeHandle kernel, output, flag;
  TF_RETURN_IF_ERROR(c->Merge(c->input(1), c->input(2), &kernel));
  TF_RETURN_IF_ERROR(c->WithRank(c->input(4), 0, &flag));
  TF_RETURN_IF_ERROR(Rules::OutputShape(c, c->input(0), kernel, &output));
  TF_RETURN_IF_ERROR(c->Merge(output, c->input(3), &output));
  c->set_output(0, c->input(0));
  return absl::OkStatus();
}

template <class Rules>
absl::Status KernelGradientShape(tensorflow::shape_inference::InferenceContext* c) {
  tensorflow::shape_inference::ShapeHandle output;
  TF_RETURN_IF_ERROR(Rules::OutputShape(c, c->input(0), c->input(1), &output));
  TF_RETURN_IF_ERROR(c->Merge(output, c->input(2), &output));
  c->set_output(0, c->input(1));
  return absl::OkStatus();
}

}  // namespace keras_sparse
