// The sparse convolution and its gradients in TensorFlow: three ops and their CPU kernels.
//
// Inputs [batch, height, width, channels], kernel and mask [height, width, channels, output
// channels]. The gradient by the kernel is 0 where the mask is false. `dense_weight_gradient` is
// not read here: the gradients in keras_sparse/compute/gradients.py choose by it. Of `inputs`,
// Conv2DInputGradient needs the shape alone.
//
// keras_sparse/compute/ops.py is the interface for people; custom_ops/README.md says how this is
// built and tested.
#include "custom_ops/tensorflow/conv_rules.h"
#include "custom_ops/tensorflow/cpu_kernel.h"
#include "custom_ops/tensorflow/shape.h"
#include "tensorflow/core/framework/common_shape_fns.h"
#include "tensorflow/core/framework/op.h"

namespace keras_sparse {
namespace {

REGISTER_OP("KerasSparse>Conv2D")
    .Input("inputs: T")
    .Input("kernel: T")
    .Input("mask: bool")
    .Input("dense_weight_gradient: bool")
    .Output("outputs: T")
    .Attr("strides: list(int)")
    .Attr("padding: {'SAME', 'VALID'}")
    .Attr("dilations: list(int) = [1, 1]")
    .KERAS_SPARSE_PRODUCT_ATTRIBUTES.KERAS_SPARSE_SHARED_VALUES.KERAS_SPARSE_HANDED_VALUES
    .SetShapeFn(ProductShape<ConvRules, Product::kForward>);

// What fuse_bias.cc makes of it.
REGISTER_OP("KerasSparse>Conv2DWithBias")
    .Input("inputs: T")
    .Input("kernel: T")
    .Input("mask: bool")
    .Input("dense_weight_gradient: bool")
    .Input("bias: T")
    .Output("outputs: T")
    .Attr("strides: list(int)")
    .Attr("padding: {'SAME', 'VALID'}")
    .Attr("dilations: list(int) = [1, 1]")
    .KERAS_SPARSE_PRODUCT_ATTRIBUTES.KERAS_SPARSE_SHARED_VALUES.KERAS_SPARSE_HANDED_VALUES
    .KERAS_SPARSE_ACTIVATION.SetShapeFn(ProductShape<ConvRules, Product::kForward>);

REGISTER_OP("KerasSparse>Conv2DInputGradient")
    .Input("inputs: T")
    .Input("kernel: T")
    .Input("mask: bool")
    .Input("output_gradient: T")
    .Input("dense_weight_gradient: bool")
    .Output("input_gradient: T")
    .Attr("strides: list(int)")
    .Attr("padding: {'SAME', 'VALID'}")
    .Attr("dilations: list(int) = [1, 1]")
    .KERAS_SPARSE_PRODUCT_ATTRIBUTES.KERAS_SPARSE_SHARED_VALUES.KERAS_SPARSE_SHARED_GRADIENT
    .KERAS_SPARSE_AS_LIST.SetShapeFn(ProductShape<ConvRules, Product::kInputGradient>);

REGISTER_OP("KerasSparse>Conv2DKernelGradient")
    .Input("inputs: T")
    .Input("mask: bool")
    .Input("output_gradient: T")
    .Output("kernel_gradient: T")
    .Attr("strides: list(int)")
    .Attr("padding: {'SAME', 'VALID'}")
    .Attr("dilations: list(int) = [1, 1]")
    .KERAS_SPARSE_PRODUCT_ATTRIBUTES.KERAS_SPARSE_SHARED_GRADIENT.KERAS_SPARSE_AS_LIST.SetShapeFn(
        ProductShape<ConvRules, Product::kKernelGradient>);

// What fuse_sums.cc makes of the first and of the third one. A sum with a larger array is larger
// than the product.
REGISTER_OP("KerasSparse>Conv2DWithSum")
    .Input("inputs: T")
    .Input("kernel: T")
    .Input("mask: bool")
    .Input("dense_weight_gradient: bool")
    .Input("addend: T")
    .Output("outputs: T")
    .Attr("strides: list(int)")
    .Attr("padding: {'SAME', 'VALID'}")
    .Attr("dilations: list(int) = [1, 1]")
    .KERAS_SPARSE_PRODUCT_ATTRIBUTES.KERAS_SPARSE_SHARED_VALUES.KERAS_SPARSE_HANDED_VALUES
    .SetShapeFn(tensorflow::shape_inference::UnknownShape);

REGISTER_OP("KerasSparse>Conv2DInputGradientWithSum")
    .Input("inputs: T")
    .Input("kernel: T")
    .Input("mask: bool")
    .Input("output_gradient: T")
    .Input("dense_weight_gradient: bool")
    .Input("addend: T")
    .Output("input_gradient: T")
    .Attr("strides: list(int)")
    .Attr("padding: {'SAME', 'VALID'}")
    .Attr("dilations: list(int) = [1, 1]")
    .KERAS_SPARSE_PRODUCT_ATTRIBUTES.KERAS_SPARSE_SHARED_VALUES.KERAS_SPARSE_SHARED_GRADIENT
    .KERAS_SPARSE_AS_LIST.SetShapeFn(tensorflow::shape_inference::UnknownShape);

KS_TENSORFLOW_TYPES(KERAS_SPARSE_REGISTER_ON_CPU, "KerasSparse>Conv2D", ConvRules)
KS_TENSORFLOW_TYPES(KERAS_SPARSE_REGISTER_SUMS_ON_CPU, "KerasSparse>Conv2D", ConvRules)

}  // namespace
}  // namespace keras_sparse

// Which instructions do the kernels use on this machine? For keras_sparse/compute/library.py,
// through ctypes.
extern "C" const char* keras_sparse_instructions() { return keras_sparse::Instructions(); }
