// What are the sparse matrix product and its gradients in TensorFlow? Three ops and their CPU
// kernels.
//
// Inputs [rows, inputs], kernel and mask [inputs, outputs]; all else as in sparse_conv2d_op.cc.
#include "custom_ops/tensorflow/cpu_kernel.h"
#include "custom_ops/tensorflow/matmul_rules.h"
#include "custom_ops/tensorflow/product_shape.h"
#include "tensorflow/core/framework/op.h"

namespace keras_sparse {
namespace {

using tensorflow::DEVICE_CPU;

REGISTER_OP("KerasSparse>MatMul")
    .Input("inputs: T")
    .Input("kernel: T")
    .Input("mask: bool")
    .Input("dense_weight_gradient: bool")
    .Output("outputs: T")
    .Attr("layer: string = ''")  // nodes of different layers must not share the plan that a kernel
                                 // keeps
    .Attr("T: {float, bfloat16, half} = DT_FLOAT")
    .Attr("block: int = 0")
    .SetShapeFn(ForwardShape<MatMulRules>);

REGISTER_OP("KerasSparse>MatMulInputGradient")
    .Input("inputs: T")
    .Input("kernel: T")
    .Input("mask: bool")
    .Input("output_gradient: T")
    .Input("dense_weight_gradient: bool")
    .Output("input_gradient: T")
    .Attr("layer: string = ''")
    .Attr("T: {float, bfloat16, half} = DT_FLOAT")
    .Attr("block: int = 0")
    .SetShapeFn(InputGradientShape<MatMulRules>);

REGISTER_OP("KerasSparse>MatMulKernelGradient")
    .Input("inputs: T")
    .Input("mask: bool")
    .Input("output_gradient: T")
    .Output("kernel_gradient: T")
    .Attr("layer: string = ''")
    .Attr("T: {float, bfloat16, half} = DT_FLOAT")
    .Attr("block: int = 0")
    .SetShapeFn(KernelGradientShape<MatMulRules>);

REGISTER_KERNEL_BUILDER(Name("KerasSparse>MatMul").Device(DEVICE_CPU).TypeConstraint<float>("T"),
                        ForwardKernel<MatMulRules>);
REGISTER_KERNEL_BUILDER(
    Name("KerasSparse>MatMulInputGradient").Device(DEVICE_CPU).TypeConstraint<float>("T"),
    InputGradientKernel<MatMulRules>);
REGISTER_KERNEL_BUILDER(
    Name("KerasSparse>MatMulKernelGradient").Device(DEVICE_CPU).TypeConstraint<float>("T"),
    KernelGradientKernel<MatMulRules>);

}  // namespace
}  // namespace keras_sparse
