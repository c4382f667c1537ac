// What the products become under XLA: the dense product with the masked kernel, stock HLO for every
// device.
//
// `Rules` has, beside what check.h asks for, three functions that give HLO for the dense products:
// DenseForward(op type, inputs, kernel), DenseInputGradient(op type, shape of inputs, kernel,
// output gradient) and DenseKernelGradient(op type, inputs, shape of kernel, output gradient).
#pragma once

#include "custom_ops/tensorflow/check.h"
#include "tensorflow/compiler/tf2xla/xla_op_kernel.h"
#include "tensorflow/compiler/tf2xla/xla_op_registry.h"
#include "xla/hlo/builder/lib/constants.h"
#include "xla/hlo/builder/xla_builder.h"

namespace keras_sparse {

inline xla::XlaOp Masked(xla::XlaOp mask, xla::XlaOp values) {
  return xla::Select(mask, values, xla::ZerosLike(values));
}

template <class Rules, Product kProduct>
class ProductLowering : public tensorflow::XlaOpKernel {
 public:
  explicit ProductLowering(tensorflow::OpKernelConstruction* context)
      : tensorflow::XlaOpKernel(context) {
    OP_REQUIRES_OK(context, rules_.Read(context));
    OP_REQUIRES_OK(context, RefuseList<kProduct>(context));
  }

  void Compile(tensorflow::XlaOpKernelContext* context) override {
    OP_REQUIRES_OK(context, CheckProduct(kProduct, rules_, context).status());
    const auto result = Dense(context);
    OP_REQUIRES_OK(context, result.status());
    const bool is_gradient = kProduct == Product::kKernelGradient;
    context->SetOutput(
        0, is_gradient ? Masked(context->Input(InputsOf(kProduct).mask), *result) : *result);
  }

 private:
  // The dense product with the masked kernel.
  absl::StatusOr<xla::XlaOp> Dense(tensorflow::XlaOpKernelContext* context) const {
    constexpr ProductInputs kInputs = InputsOf(kProduct);
    const auto first = context->Input(kInputs.first), second = context->Input(kInputs.second);
    TF_ASSIGN_OR_RETURN(xla::Shape inputs, context->InputXlaShape(0));
    if constexpr (kProduct == Product::kKernelGradient) {
      TF_ASSIGN_OR_RETURN(xla::Shape kernel, context->InputXlaShape(kInputs.mask));
      kernel.set_element_type(inputs.element_type());
      return rules_.DenseKernelGradient(type_string(), first, kernel, second);
    } else {
      const xla::XlaOp kernel = Masked(context->Input(kInputs.mask), second);
      if constexpr (kProduct == Product::kInputGradient)
        return rules_.DenseInputGradient(type_string(), inputs, kernel, first);
      return rules_.DenseForward(type_string(), first, kernel);
    }
  }

  Rules rules_;
};

}  // namespace keras_sparse
