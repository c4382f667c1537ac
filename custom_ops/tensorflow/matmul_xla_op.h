// What the sparse matrix product and its gradients become under XLA: dense products.
#pragma once

#include "custom_ops/tensorflow/lowering.h"
#include "custom_ops/tensorflow/matmul_rules.h"

namespace keras_sparse {
namespace {

struct MatMulLowering : MatMulRules {
  // Sums over one axis of each.
  static xla::XlaOp Dot(xla::XlaOp first, int64_t first_axis, xla::XlaOp second,
                        int64_t second_axis) {
    xla::DotDimensionNumbers summed;
    summed.add_lhs_contracting_dimensions(first_axis);
    summed.add_rhs_contracting_dimensions(second_axis);
    return xla::DotGeneral(first, second, summed);
  }

  absl::StatusOr<xla::XlaOp> DenseForward(const std::string&, xla::XlaOp inputs,
                                          xla::XlaOp kernel) const {
    return Dot(inputs, 1, kernel, 0);
  }

  absl::StatusOr<xla::XlaOp> DenseInputGradient(const std::string&, const xla::Shape&,
                                                xla::XlaOp kernel,
                                                xla::XlaOp output_gradient) const {
    return Dot(output_gradient, 1, kernel, 1);
  }

  absl::StatusOr<xla::XlaOp> DenseKernelGradient(const std::string&, xla::XlaOp inputs,
                                                 const xla::Shape&,
                                                 xla::XlaOp output_gradient) const {
    return Dot(inputs, 0, output_gradient, 0);
  }
};

// The macro takes names without commas.
using MatMulForward = ProductLowering<MatMulLowering, Product::kForward>;
using MatMulInputGradient = ProductLowering<MatMulLowering, Product::kInputGradient>;
using MatMulKernelGradient = ProductLowering<MatMulLowering, Product::kKernelGradient>;

REGISTER_XLA_OP(Name("KerasSparse>MatMul"), MatMulForward);
REGISTER_XLA_OP(Name("KerasSparse>MatMulInputGradient"), MatMulInputGradient);
REGISTER_XLA_OP(Name("KerasSparse>MatMulKernelGradient"), MatMulKernelGradient);

}  // namespace
}  // namespace keras_sparse
