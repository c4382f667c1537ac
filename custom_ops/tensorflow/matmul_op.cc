// The sparse matrix product and its gradients in TensorFlow: three ops and their CPU kernels.
//
// Inputs [..., rows, inputs], kernel and mask [inputs, outputs]; all else as in conv_op.cc.
#include "custom_ops/tensorflow/cpu_kernel.h"
#include "custom_ops/tensorflow/matmul_rules.h"
#include "custom_ops/tensorflow/shape.h"
#include "tensorflow/core/framework/op.h"

namespace keras_sparse {
namespace {

REGISTER_OP("KerasSparse>MatMul")
    .Input("inputs: T")
    .Input("kernel: T")
    .Input("mask: bool")
    .Input("dense_weight_gradient: bool")
    .Output("outputs: T")
    .KERAS_SPARSE_PRODUCT_ATTRIBUTES.KERAS_SPARSE_SHARED_VALUES.KERAS_SPARSE_HANDED_VALUES
    .SetShapeFn(ProductShape<MatMulRules, Product::kForward>);

// What fuse_bias.cc makes of it.
REGISTER_OP("KerasSparse>MatMulWithBias")
    .Input("inputs: T")
    .Input("kernel: T")
    .Input("mask: bool")
    .Input("dense_weight_gradient: bool")
    .Input("bias: T")
    .Output("outputs: T")
    .KERAS_SPARSE_PRODUCT_ATTRIBUTES.KERAS_SPARSE_SHARED_VALUES.KERAS_SPARSE_HANDED_VALUES
    .KERAS_SPARSE_ACTIVATION.SetShapeFn(ProductShape<MatMulRules, Product::kForward>);

REGISTER_OP("KerasSparse>MatMulInputGradient")
    .Input("inputs: T")
    .Input("kernel: T")
    .Input("mask: bool")
    .Input("output_gradient: T")
    .Input("dense_weight_gradient: bool")
    .Output("input_gradient: T")
    .KERAS_SPARSE_PRODUCT_ATTRIBUTES.KERAS_SPARSE_SHARED_VALUES.KERAS_SPARSE_SHARED_GRADIENT
    .KERAS_SPARSE_AS_LIST.SetShapeFn(ProductShape<MatMulRules, Product::kInputGradient>);

REGISTER_OP("KerasSparse>MatMulKernelGradient")
    .Input("inputs: T")
    .Input("mask: bool")
    .Input("output_gradient: T")
    .Output("kernel_gradient: T")
    .KERAS_SPARSE_PRODUCT_ATTRIBUTES.KERAS_SPARSE_SHARED_GRADIENT.KERAS_SPARSE_AS_LIST.SetShapeFn(
        ProductShape<MatMulRules, Product::kKernelGradient>);

KS_TENSORFLOW_TYPES(KERAS_SPARSE_REGISTER_ON_CPU, "KerasSparse>MatMul", MatMulRules)

}  // namespace
}  // namespace keras_sparse
