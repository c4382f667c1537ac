// What the sparse convolution and its gradients become under XLA: the same as TensorFlow's own
// convolutions.
#pragma once

#include "custom_ops/tensorflow/conv_rules.h"
#include "custom_ops/tensorflow/lowering.h"
#include "custom_ops/tensorflow/registration.h"
#include "tensorflow/compiler/tf2xla/kernels/conv_op_helpers.h"

namespace keras_sparse {
namespace {

struct ConvLowering : ConvRules {
  tensorflow::ConvOpAttrs Attributes() const {
    tensorflow::ConvOpAttrs attributes = {};
    attributes.depthwise = false;
    attributes.num_spatial_dims = 2;
    attributes.dilations = {1, static_cast<int32_t>(dilation_height),
                            static_cast<int32_t>(dilation_width), 1};
    attributes.strides = {1, static_cast<int32_t>(stride_height),
                          static_cast<int32_t>(stride_width), 1};
    attributes.padding = same ? tensorflow::Padding::SAME : tensorflow::Padding::VALID;
    attributes.data_format = tensorflow::FORMAT_NHWC;
    return attributes;
  }

  absl::StatusOr<xla::XlaOp> DenseForward(const std::string& op, xla::XlaOp inputs,
                                          xla::XlaOp kernel) const {
    return tensorflow::MakeXlaForwardConvOp(op, inputs, kernel, Attributes());
  }

  absl::StatusOr<xla::XlaOp> DenseInputGradient(const std::string& op, const xla::Shape& inputs,
                                                xla::XlaOp kernel,
                                                xla::XlaOp output_gradient) const {
    return tensorflow::MakeXlaBackpropInputConvOp(op, inputs, kernel, output_gradient,
                                                  Attributes());
  }

  absl::StatusOr<xla::XlaOp> DenseKernelGradient(const std::string& op, xla::XlaOp inputs,
                                                 const xla::Shape& kernel,
                                                 xla::XlaOp output_gradient) const {
    return tensorflow::MakeXlaBackpropFilterConvOp(op, inputs, kernel, output_gradient,
                                                   Attributes());
  }
};

// The macro takes names without commas.
using ConvForward = ProductLowering<ConvLowering, Product::kForward>;
using ConvInputGradient = ProductLowering<ConvLowering, Product::kInputGradient>;
using ConvKernelGradient = ProductLowering<ConvLowering, Product::kKernelGradient>;

KS_REGISTER_XLA_OP(Name("KerasSparse>Conv2D"), ConvForward);
KS_REGISTER_XLA_OP(Name("KerasSparse>Conv2DInputGradient"), ConvInputGradient);
KS_REGISTER_XLA_OP(Name("KerasSparse>Conv2DKernelGradient"), ConvKernelGradient);

}  // namespace
}  // namespace keras_sparse
