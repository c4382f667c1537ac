// The arguments that a matrix product takes, and the shape that it gives.
#pragma once

#include "custom_ops/contract/matmul.h"
#include "custom_ops/tensorflow/check.h"
#include "tensorflow/core/framework/shape_inference.h"

namespace keras_sparse {

struct MatMulRules {
  using InferenceContext = tensorflow::shape_inference::InferenceContext;
  using ShapeHandle = tensorflow::shape_inference::ShapeHandle;
  using TensorShape = tensorflow::TensorShape;

  // There are no attributes that change a value.
  absl::Status Read(tensorflow::OpKernelConstruction*) { return absl::OkStatus(); }

  // `name` is what the op calls the kernel.
  absl::StatusOr<ProductCall> Call(const TensorShape& inputs, const char* name,
                                   const TensorShape& kernel) const {
    TF_RETURN_IF_ERROR(CheckRank("inputs", inputs, 2, "[rows, inputs]"));
    TF_RETURN_IF_ERROR(CheckRank(name, kernel, 2, "[inputs, outputs]"));
    if (kernel.dim_size(0) != inputs.dim_size(1))
      return BadShape(
          name,
          absl::StrCat("have the inputs' ", inputs.dim_size(1), " channels in its first axis"),
          kernel);
    ProductCall call;
    call.convolution.sizes =
        MatMulSizes(inputs.dim_size(0), inputs.dim_size(1), kernel.dim_size(1));
    TF_RETURN_IF_ERROR(
        TensorShape::BuildTensorShape({inputs.dim_size(0), kernel.dim_size(1)}, &call.outputs));
    return call;
  }

  static absl::Status OutputShape(InferenceContext* c, ShapeHandle inputs, ShapeHandle kernel,
                                  ShapeHandle* output) {
    tensorflow::shape_inference::DimensionHandle channels;
    TF_RETURN_IF_ERROR(c->WithRank(inputs, 2, &inputs));
    TF_RETURN_IF_ERROR(c->WithRank(kernel, 2, &kernel));
    TF_RETURN_IF_ERROR(c->Merge(c->Dim(inputs, 1), c->Dim(kernel, 0), &channels));
    *output = c->MakeShape({c->Dim(inputs, 0), c->Dim(kernel, 1)});
    return absl::OkStatus();
  }
};

}  // namespace keras_sparse
