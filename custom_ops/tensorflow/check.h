// The arguments that the ops take: one check for CPU kernels, GPU kernels and XLA lowerings, and
// one set of sentences.
//
// The three ops of a product, KerasSparse>X, have these inputs:
//   X                inputs, kernel, mask, dense_weight_gradient
//   XInputGradient   inputs, kernel, mask, output_gradient, dense_weight_gradient
//   XKernelGradient  inputs, mask, output_gradient
// `Rules` is what convolutions and matrix products differ in: ConvRules, MatMulRules.
#pragma once

#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "custom_ops/contract/product.h"
#include "custom_ops/tensorflow/element_types.h"
#include "tensorflow/core/framework/op_kernel.h"
#include "tensorflow/core/framework/tensor_shape.h"
#include "tensorflow/core/platform/errors.h"
#include "tensorflow/core/platform/statusor.h"

namespace keras_sparse {

// The kernels count in 32 bits, and sums of a few sizes below this one fit 64.
constexpr int64_t kMaxSize = (int64_t{1} << 31) - 1;

// The inputs of an op that the checks and the kernels read.
struct ProductInputs {
  int kernel;  // or the mask, where there is no kernel
  int mask;
  int first, second;                           // as in ConvPlan::Run
  int output_gradient, dense_weight_gradient;  // -1: not an input
  int count;                                   // of all inputs
};

constexpr ProductInputs InputsOf(Product product) {
  return product == Product::kForward         ? ProductInputs{1, 2, 0, 1, -1, 3, 4}
         : product == Product::kInputGradient ? ProductInputs{1, 2, 3, 1, 3, 4, 5}
                                              : ProductInputs{1, 1, 0, 2, 2, -1, 3};
}

// A call whose arguments are right.
struct ProductCall {
  Convolution convolution;
  tensorflow::TensorShape outputs, result;  // of the forward product; of this one
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

// For what an engine does not compute; `why` is its "`argument` must ...".
inline absl::Status Unsupported(const char* why, const Convolution& c) {
  const ConvSizes& s = c.sizes;
  constexpr const char* kStructures[] = {"weights", "channel_pairs", "blocks"};
  return absl::InvalidArgumentError(absl::StrCat(
      why, ". Pass implementation=\"stock\". Received: inputs.shape=[", s.batch, ",", s.in_height,
      ",", s.in_width, ",", s.in_channels, "], kernel.shape=[", s.kernel_height, ",",
      s.kernel_width, ",", s.in_channels, ",", s.out_channels, "], strides=[", s.stride_height, ",",
      s.stride_width, "], dilations=[", c.dilation_height, ",", c.dilation_width,
      "], structure=", kStructures[c.structure.kind], ", block=", c.structure.block));
}

// The attributes `structure` and `block`. Graphs that were saved before there was `structure` have
// a `block` alone, where 1 stands for channel pairs.
inline absl::Status ReadStructure(tensorflow::OpKernelConstruction* context,
                                  MaskStructure* structure) {
  std::string name;
  int block = 0;
  TF_RETURN_IF_ERROR(context->GetAttr("structure", &name));
  TF_RETURN_IF_ERROR(context->GetAttr("block", &block));
  if (block < 0 || (name == "blocks" && block == 0) || (name == "channel_pairs" && block != 0))
    return absl::InvalidArgumentError(
        absl::StrCat("`block` must be 0, or for structure \"blocks\" the channels of a block. "
                     "Received: structure=",
                     name, ", block=", block));
  if (name == "channel_pairs" || (name == "weights" && block == 1)) {
    *structure = MaskStructure::ChannelPairs();
  } else {
    *structure = block > 0 ? MaskStructure::Blocks(block) : MaskStructure::Weights();
  }
  return absl::OkStatus();
}

// What passes over graphs ask of kernels for CPUs, which alone can do it.
struct CpuFlags {
  // A kernel gradient, or the one that an input gradient shares, is the list of the active weights'
  // gradients.
  bool as_list = false;
  // The kernel is that of a float32 variable: its bytes, with a last axis for the two elements of
  // 16 bits that a weight takes.
  bool kernel_in_floats = false;
};

template <Product kProduct>
absl::Status ReadCpuFlags(tensorflow::OpKernelConstruction* context, CpuFlags* flags) {
  if (kProduct != Product::kForward)
    TF_RETURN_IF_ERROR(context->GetAttr("as_list", &flags->as_list));
  if (kProduct != Product::kKernelGradient)
    TF_RETURN_IF_ERROR(context->GetAttr("kernel_in_floats", &flags->kernel_in_floats));
  return absl::OkStatus();
}

template <Product kProduct>
absl::Status RefuseCpuFlags(tensorflow::OpKernelConstruction* context) {
  CpuFlags flags;
  TF_RETURN_IF_ERROR(ReadCpuFlags<kProduct>(context, &flags));
  for (const auto& [name, flag] :
       {std::pair("as_list", flags.as_list), std::pair("kernel_in_floats", flags.kernel_in_floats)})
    if (flag)
      return absl::InvalidArgumentError(absl::StrCat(
          "`", name, "` must be false, except on a CPU without XLA. Received: ", name, "=true"));
  return absl::OkStatus();
}

// The shape of input i of a kernel, or of an XLA lowering.
inline tensorflow::TensorShape ShapeOf(tensorflow::OpKernelContext* context, int i) {
  return context->input(i).shape();
}
template <class XlaOpKernelContext>
tensorflow::TensorShape ShapeOf(XlaOpKernelContext* context, int i) {
  return context->InputShape(i);
}

template <class Rules, class Context>
absl::StatusOr<ProductCall> CheckProduct(Product product, const Rules& rules, Context* context,
                                         bool kernel_in_floats = false) {
  const ProductInputs at = InputsOf(product);
  const auto inputs = ShapeOf(context, 0), mask = ShapeOf(context, at.mask);
  auto kernel = ShapeOf(context, at.kernel);
  if (kernel_in_floats) {
    if (kernel.dims() == 0 || kernel.dim_size(kernel.dims() - 1) != 2)
      return BadShape("kernel", "have a last axis of 2 where `kernel_in_floats` is true", kernel);
    kernel.RemoveLastDims(1);
  }
  if (kernel != mask)
    return BadShape("mask", absl::StrCat("have the shape of `kernel`, ", kernel.DebugString()),
                    mask);
  if (at.dense_weight_gradient >= 0 && ShapeOf(context, at.dense_weight_gradient).dims() != 0)
    return BadShape("dense_weight_gradient", "be a scalar",
                    ShapeOf(context, at.dense_weight_gradient));
  TF_ASSIGN_OR_RETURN(ProductCall call,
                      rules.Call(inputs, at.kernel == at.mask ? "mask" : "kernel", kernel));
  if (at.output_gradient >= 0 && ShapeOf(context, at.output_gradient) != call.outputs)
    return BadShape("output_gradient",
                    absl::StrCat("have the shape of the outputs, ", call.outputs.DebugString()),
                    ShapeOf(context, at.output_gradient));
  call.convolution.kernel_in_floats = kernel_in_floats;
  call.result = product == Product::kForward         ? call.outputs
                : product == Product::kInputGradient ? inputs
                                                     : kernel;
  return call;
}

}  // namespace keras_sparse
