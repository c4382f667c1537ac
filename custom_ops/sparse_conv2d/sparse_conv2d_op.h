// Which arguments do the convolution's ops take? One check for kernels and XLA lowerings.
//
// Only files named *_op.cc include this one.
#pragma once

#include <string>
#include <vector>

#include "absl/strings/str_join.h"
#include "custom_ops/common/tensorflow_glue.h"
#include "custom_ops/sparse_conv2d/sparse_conv2d.h"
#include "custom_ops/sparse_conv2d/window.h"

namespace keras_sparse {

struct ConvAttributes {
  int64_t stride_height = 1, stride_width = 1;
  bool same = false;

  // From an OpKernelConstruction or an InferenceContext.
  template <class Context>
  absl::Status Read(Context* context) {
    std::vector<int64_t> strides;
    std::string padding;
    TF_RETURN_IF_ERROR(context->GetAttr("strides", &strides));
    TF_RETURN_IF_ERROR(context->GetAttr("padding", &padding));
    const bool sound =
        strides.size() == 2 && std::min(strides[0], strides[1]) >= 1 && std::max(strides[0], strides[1]) <= kMaxSize;
    if (!sound)
      return absl::InvalidArgumentError(absl::StrCat("`strides` must be two numbers in [1, 2^31). Received: strides=[",
                                                     absl::StrJoin(strides, ", "), "]"));
    stride_height = strides[0];
    stride_width = strides[1];
    same = padding == "SAME";
    return absl::OkStatus();
  }

  // Of a convolution of these `inputs` with a kernel of this shape; `name` is what the op calls the kernel.
  absl::StatusOr<ConvSizes> Sizes(const tensorflow::TensorShape& inputs, const char* name,
                                  const tensorflow::TensorShape& kernel) const {
    TF_RETURN_IF_ERROR(CheckRank("inputs", inputs, 4, "[batch, height, width, channels]"));
    TF_RETURN_IF_ERROR(CheckRank(name, kernel, 4, "[height, width, input channels, output channels]"));
    if (kernel.dim_size(0) < 1 || kernel.dim_size(1) < 1)
      return BadShape(name, "be at least 1 high and 1 wide", kernel);
    if (kernel.dim_size(2) != inputs.dim_size(3))
      return BadShape(name, absl::StrCat("have the inputs' ", inputs.dim_size(3), " channels in its third axis"),
                      kernel);
    if (!same && (kernel.dim_size(0) > inputs.dim_size(1) || kernel.dim_size(1) > inputs.dim_size(2)))
      return BadShape(name, absl::StrCat("fit into the inputs, ", inputs.DebugString(), ", for padding VALID"), kernel);
    const Window rows = MakeWindow(inputs.dim_size(1), kernel.dim_size(0), stride_height, same);
    const Window columns = MakeWindow(inputs.dim_size(2), kernel.dim_size(1), stride_width, same);
    return ConvSizes{inputs.dim_size(0), inputs.dim_size(1), inputs.dim_size(2), inputs.dim_size(3), kernel.dim_size(0),
                     kernel.dim_size(1), kernel.dim_size(3), stride_height,      stride_width,       rows.pad,
                     columns.pad,        rows.out,           columns.out};
  }
};

inline absl::StatusOr<tensorflow::TensorShape> OutputShape(const ConvSizes& s) {
  tensorflow::TensorShape shape;
  TF_RETURN_IF_ERROR(
      tensorflow::TensorShape::BuildTensorShape({s.batch, s.out_height, s.out_width, s.out_channels}, &shape));
  return shape;
}

// The checks of the three ops. `Context` has InputShape(int); what they return is all that is left to know.
struct ConvCall {
  ConvSizes sizes;
  tensorflow::TensorShape output;
};

inline absl::StatusOr<ConvCall> CheckedCall(const ConvAttributes& attributes, const tensorflow::TensorShape& inputs,
                                            const char* name, const tensorflow::TensorShape& kernel) {
  TF_ASSIGN_OR_RETURN(const ConvSizes sizes, attributes.Sizes(inputs, name, kernel));
  TF_ASSIGN_OR_RETURN(const tensorflow::TensorShape output, OutputShape(sizes));
  return ConvCall{sizes, output};
}

// Inputs of the op: inputs, kernel, mask, dense_weight_gradient.
template <class Shapes>
absl::StatusOr<ConvCall> CheckForward(const ConvAttributes& attributes, Shapes shape) {
  TF_RETURN_IF_ERROR(CheckMask(shape(1), shape(2)));
  TF_RETURN_IF_ERROR(CheckFlag(shape(3)));
  return CheckedCall(attributes, shape(0), "kernel", shape(1));
}

// Inputs of the op: inputs, kernel, mask, output_gradient, dense_weight_gradient.
template <class Shapes>
absl::StatusOr<ConvCall> CheckInputGradient(const ConvAttributes& attributes, Shapes shape) {
  TF_RETURN_IF_ERROR(CheckMask(shape(1), shape(2)));
  TF_RETURN_IF_ERROR(CheckFlag(shape(4)));
  TF_ASSIGN_OR_RETURN(const ConvCall call, CheckedCall(attributes, shape(0), "kernel", shape(1)));
  TF_RETURN_IF_ERROR(CheckOutputGradient(call.output, shape(3)));
  return call;
}

// Inputs of the op: inputs, mask, output_gradient.
template <class Shapes>
absl::StatusOr<ConvCall> CheckKernelGradient(const ConvAttributes& attributes, Shapes shape) {
  TF_ASSIGN_OR_RETURN(const ConvCall call, CheckedCall(attributes, shape(0), "mask", shape(1)));
  TF_RETURN_IF_ERROR(CheckOutputGradient(call.output, shape(2)));
  return call;
}

}  // namespace keras_sparse
