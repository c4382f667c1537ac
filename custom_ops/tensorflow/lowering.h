// How do the products become XLA's? The dense product with the masked kernel: stock HLO, for every
// device of XLA.
//
// `Rules` has, beside what product_check.h asks for, three functions that give HLO for the dense
// products: DenseForward(op type, inputs, kernel), DenseInputGradient(op type, shape of inputs,
// kernel, output gradient) and DenseKernelGradient(op type, inputs, shape of kernel, output
// gradient). Only files of this folder may include this one.
#pragma once

#include "custom_ops/tensorflow/product_check.h"
#include "tensorflow/compiler/tf2xla/xla_op_kernel.h"
#include "tensorflow/compiler/tf2xla/xla_op_registry.h"
#include "xla/hlo/builder/lib/constants.h"
#include "xla/hlo/builder/xla_builder.h"

namespace keras_sparse {

inline xla::XlaOp Masked(xla::XlaOp mask, xla::XlaOp values) {
  return xla::Select(mask, values, xla::ZerosLike(values));
}

template <class Rules>
class ProductLowering : public tensorflow::XlaOpKernel {
 public:
  explicit ProductLowering(tensorflow::OpKernelConstruction* context)
      : tensorflow::XlaOpKernel(context) {
    OP_REQUIRES_OK(context, rules_.Read(context));
  }

 protected:
  Rules rules_;
};

template <class Rules>
class ForwardLowering : public ProductLowering<Rules> {
 public:
  using ProductLowering<Rules>::ProductLowering;

  void Compile(tensorflow::XlaOpKernelContext* context) override {
    OP_REQUIRES_OK(context, CheckForward(this->rules_, context).status());
    const xla::XlaOp kernel = Masked(context->Input(2), context->Input(1));
    const auto output = this->rules_.DenseForward(this->type_string(), context->Input(0), kernel);
    OP_REQUIRES_OK(context, output.status());
    context->SetOutput(0, *output);
  }
};

template <class Rules>
class InputGradientLowering : public ProductLowering<Rules> {
 public:
  using ProductLowering<Rules>::ProductLowering;

  void Compile(tensorflow::XlaOpKernelContext* context) override {
    OP_REQUIRES_OK(context, CheckInputGradient(this->rules_, context).status());
    const auto inputs = context->InputXlaShape(0);
    OP_REQUIRES_OK(context, inputs.status());
    const xla::XlaOp kernel = Masked(context->Input(2), context->Input(1));
    const auto output =
        this->rules_.DenseInputGradient(this->type_string(), *inputs, kernel, context->Input(3));
    OP_REQUIRES_OK(context, output.status());
    context->SetOutput(0, *output);
  }
};

template <class Rules>
class KernelGradientLowering : public ProductLowering<Rules> {
 public:
  using ProductLowering<Rules>::ProductLowering;

  void Compile(tensorflow::XlaOpKernelContext* context) override {
    OP_REQUIRES_OK(context, CheckKernelGradient(this->rules_, context).status());
    const auto mask = context->InputXlaShape(1);
    OP_REQUIRES_OK(context, mask.status());
    const auto inputs = context->InputXlaShape(0);
    OP_REQUIRES_OK(context, inputs.status());
    xla::Shape kernel = *mask;
    kernel.set_element_type(inputs->element_type());
    const auto output = this->rules_.DenseKernelGradient(this->type_string(), context->Input(0),
                                                         kernel, context->Input(2));
    OP_REQUIRES_OK(context, output.status());
    context->SetOutput(0, Masked(context->Input(1), *output));
  }
};

}  // namespace keras_sparse
