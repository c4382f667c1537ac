// Which arguments do the ops take? One check for CPU kernels and XLA lowerings, and one set of
// sentences.
//
// The three ops of a product, KerasSparse>X, have these inputs:
//   X                inputs, kernel, mask, dense_weight_gradient
//   XInputGradient   inputs, kernel, mask, output_gradient, dense_weight_gradient
//   XKernelGradient  inputs, mask, output_gradient
// `Rules` is what convolutions and matrix products differ in: ConvRules, MatMulRules. Only *_op.cc
// may include this file.
#pragma once

#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "custom_ops/contract/product.h"
#include "tensorflow/core/framework/op_kernel.h"
#include "tensorflow/core/framework/tensor_shape.h"
#include "tensorflow/core/platform/errors.h"
#include "tensorflow/core/platform/statusor.h"

namespace keras_sparse {

// The kernels count in 32 bits, and sums of a few sizes below this one fit 64.
constexpr int64_t kMaxSize = (int64_t{1} << 31) - 1;

// What is known of a call whose arguments are right.
struct ProductCall {
  ConvSizes sizes;
  tensorflow::TensorShape output;
};

// "`argument` must ... Received: argument.shape=[...]"
inline absl::Status BadShape(const char* argument, const std::string& rule,
                             const tensorflow::TensorShape& shape) {
  return absl::InvalidArgumentError(absl::StrCat(
      "`", argument, "` must ", rule, ". Received: ", argument, ".shape=", shape.DebugString()));
}

inline absl::Status CheckRank(const char* argument, const tensorflow::TensorShape& shape, int rank,
                              const char* axes) {
  if (shape.dims() != rank) return BadShape(argument, absl::StrCat("have the shape ", axes), shape);
  for (int axis = 0; axis < rank; ++axis)
    if (shape.dim_size(axis) > kMaxSize) return BadShape(argument, "have sizes below 2^31", shape);
  return absl::OkStatus();
}

inline absl::Status CheckMask(const tensorflow::TensorShape& kernel,
                              const tensorflow::TensorShape& mask) {
  if (kernel == mask) return absl::OkStatus();
  return BadShape("mask", absl::StrCat("have the shape of `kernel`, ", kernel.DebugString()), mask);
}

inline absl::Status CheckFlag(const tensorflow::TensorShape& flag) {
  if (flag.dims() == 0) return absl::OkStatus();
  return BadShape("dense_weight_gradient", "be a scalar", flag);
}

inline absl::Status CheckOutputGradient(const tensorflow::TensorShape& output,
                                        const tensorflow::TensorShape& gradient) {
  if (output == gradient) return absl::OkStatus();
  return BadShape("output_gradient",
                  absl::StrCat("have the shape of the outputs, ", output.DebugString()), gradient);
}

// For sizes that a kernel does not take; `why` is its explanation.
inline absl::Status UnsupportedSizes(const char* why, const ConvSizes& s) {
  return absl::InvalidArgumentError(absl::StrCat(
      "`inputs`, `kernel` and `strides` must have sizes that the custom op takes: ", why,
      ". Pass implementation=\"stock\". Received: inputs of shape [", s.batch, ",", s.in_height,
      ",", s.in_width, ",", s.in_channels, "], kernel of shape [", s.kernel_height, ",",
      s.kernel_width, ",", s.in_channels, ",", s.out_channels, "], strides=[", s.stride_height, ",",
      s.stride_width, "]"));
}

// The shape of input i of a CPU kernel, or of an XLA lowering.
inline tensorflow::TensorShape ShapeOf(tensorflow::OpKernelContext* context, int i) {
  return context->input(i).shape();
}
template <class XlaOpKernelContext>
tensorflow::TensorShape ShapeOf(XlaOpKernelContext* context, int i) {
  return context->InputShape(i);
}

template <class Rules, class Context>
absl::StatusOr<ProductCall> CheckForward(const Rules& rules, Context* context) {
  TF_RETURN_IF_ERROR(CheckMask(ShapeOf(context, 1), ShapeOf(context, 2)));
  TF_RETURN_IF_ERROR(CheckFlag(ShapeOf(context, 3)));
  return rules.Call(ShapeOf(context, 0), "kernel", ShapeOf(context, 1));
}

template <class Rules, class Context>
absl::StatusOr<ProductCall> CheckInputGradient(const Rules& rules, Context* context) {
  TF_RETURN_IF_ERROR(CheckMask(ShapeOf(context, 1), ShapeOf(context, 2)));
  TF_RETURN_IF_ERROR(CheckFlag(ShapeOf(context, 4)));
  TF_ASSIGN_OR_RETURN(ProductCall call,
                      rules.Call(ShapeOf(context, 0), "kernel", ShapeOf(context, 1)));
  TF_RETURN_IF_ERROR(CheckOutputGradient(call.output, ShapeOf(context, 3)));
  return call;
}

template <class Rules, class Context>
absl::StatusOr<ProductCall> CheckKernelGradient(const Rules& rules, Context* context) {
  TF_ASSIGN_OR_RETURN(ProductCall call,
                      rules.Call(ShapeOf(context, 0), "mask", ShapeOf(context, 1)));
  TF_RETURN_IF_ERROR(CheckOutputGradient(call.output, ShapeOf(context, 2)));
  return call;
}

}  // namespace keras_sparse
