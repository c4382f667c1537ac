// What the sparse matrix product and its gradients become under XLA: dense products.
#pragma once

#include "custom_ops/tensorflow/lowering.h"
#include "custom_ops/tensorflow/matmul_rules.h"
#include "custom_ops/tensorflow/registration.h"

namespace keras_sparse {
namespace {

struct MatMulLowering : MatMulRules {
  // The last axis of inputs, or of an output gradient.
  static absl::StatusOr<int64_t> LastAxis(xla::XlaOp tensor) {
    TF_ASSIGN_OR_RETURN(const xla::Shape shape, tensor.builder()->GetShape(tensor));
    return int64_t{shape.dimensions().size()} - 1;
  }

  // Sums over the last axis of the first tensor, and one of the kernel.
  static absl::StatusOr<xla::XlaOp> Dot(xla::XlaOp first, xla::XlaOp kernel, int64_t axis) {
    TF_ASSIGN_OR_RETURN(const int64_t last, LastAxis(first));
    xla::DotDimensionNumbers summed;
    summed.add_lhs_contracting_dimensions(last);
    summed.add_rhs_contracting_dimensions(axis);
    return xla::DotGeneral(first, kernel, summed);
  }

  absl::StatusOr<xla::XlaOp> DenseForward(const std::string&, xla::XlaOp inputs,
                                          xla::XlaOp kernel) const {
    return Dot(inputs, kernel, 0);
  }

  absl::StatusOr<xla::XlaOp> DenseInputGradient(const std::string&, const xla::Shape&,
                                                xla::XlaOp kernel,
                                                xla::XlaOp output_gradient) const {
    return Dot(output_gradient, kernel, 1);
  }

  absl::StatusOr<xla::XlaOp> DenseKernelGradient(const std::string&, xla::XlaOp inputs,
                                                 const xla::Shape&,
                                                 xla::XlaOp output_gradient) const {
    TF_ASSIGN_OR_RETURN(const int64_t last, LastAxis(inputs));
    xla::DotDimensionNumbers summed;  // all rows
    for (int64_t axis = 0; axis < last; ++axis) {
      summed.add_lhs_contracting_dimensions(axis);
      summed.add_rhs_contracting_dimensions(axis);
    }
    return xla::DotGeneral(inputs, output_gradient, summed);
  }
};

// The macro takes names without commas.
using MatMulForward = ProductLowering<MatMulLowering, Product::kForward>;
using MatMulInputGradient = ProductLowering<MatMulLowering, Product::kInputGradient>;
using MatMulKernelGradient = ProductLowering<MatMulLowering, Product::kKernelGradient>;

KS_REGISTER_XLA_OP(Name("KerasSparse>MatMul"), MatMulForward);
KS_REGISTER_XLA_OP(Name("KerasSparse>MatMulInputGradient"), MatMulInputGradient);
KS_REGISTER_XLA_OP(Name("KerasSparse>MatMulKernelGradient"), MatMulKernelGradient);

}  // namespace
}  // namespace keras_sparse
