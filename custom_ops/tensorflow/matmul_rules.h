// The arguments that a matrix product takes, and the shape that it gives. All axes of the inputs
// but the last are rows.
#pragma once

#include <algorithm>

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
    const int last = inputs.dims() - 1;
    if (last < 1) return BadShape("inputs", "have the shape [..., rows, inputs]", inputs);
    TF_RETURN_IF_ERROR(CheckRank(name, kernel, 2, "[inputs, outputs]"));
    if (kernel.dim_size(0) != inputs.dim_size(last))
      return BadShape(
          name,
          absl::StrCat("have the inputs' ", inputs.dim_size(last), " channels in its first axis"),
          kernel);
    TensorShape rows = inputs;
    rows.RemoveDim(last);
    if (std::max(inputs.dim_size(last), rows.num_elements()) > kMaxSize)
      return BadShape("inputs", "have less than 2^31 rows and channels", inputs);
    ProductCall call;
    call.convolution.sizes =
        MatMulSizes(rows.num_elements(), inputs.dim_size(last), kernel.dim_size(1));
    call.outputs = rows;
    TF_RETURN_IF_ERROR(call.outputs.AddDimWithStatus(kernel.dim_size(1)));
    return call;
  }

  static absl::Status OutputShape(InferenceContext* c, ShapeHandle inputs, ShapeHandle kernel,
                                  ShapeHandle* output) {
    tensorflow::shape_inference::DimensionHandle channels;
    TF_RETURN_IF_ERROR(c->WithRankAtLeast(inputs, 2, &inputs));
    TF_RETURN_IF_ERROR(c->WithRank(kernel, 2, &kernel));
    TF_RETURN_IF_ERROR(c->Merge(c->Dim(inputs, -1), c->Dim(kernel, 0), &channels));
    ShapeHandle rows;
    TF_RETURN_IF_ERROR(c->Subshape(inputs, 0, -1, &rows));
    return c->Concatenate(rows, c->Vector(c->Dim(kernel, 1)), output);
  }
};

}  // namespace keras_sparse
