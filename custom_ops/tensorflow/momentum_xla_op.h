// What the step of a masked weight becomes under XLA: arithmetic and a select.
#pragma once

#include "custom_ops/tensorflow/lowering.h"
#include "custom_ops/tensorflow/momentum_check.h"

namespace keras_sparse {
namespace {

class ApplyMaskedMomentumLowering : public tensorflow::XlaOpKernel {
 public:
  explicit ApplyMaskedMomentumLowering(tensorflow::OpKernelConstruction* context)
      : tensorflow::XlaOpKernel(context) {
    OP_REQUIRES_OK(context, context->GetAttr("use_nesterov", &use_nesterov_));
  }

  void Compile(tensorflow::XlaOpKernelContext* context) override {
    xla::XlaOp weight, velocity;
    tensorflow::TensorShape shape, velocity_shape;
    OP_REQUIRES_OK(context,
                   context->ReadVariableInput(kVar, tensorflow::DT_FLOAT, &shape, &weight));
    OP_REQUIRES_OK(context, context->ReadVariableInput(kMomentumVar, tensorflow::DT_FLOAT,
                                                       &velocity_shape, &velocity));
    OP_REQUIRES_OK(context, CheckMomentumStep(context, shape, velocity_shape));
    const xla::XlaOp momentum = context->Input(kMomentum);
    const xla::XlaOp change = context->Input(kGradient) * context->Input(kLearningRate);
    velocity = velocity * momentum - change;
    weight = weight + (use_nesterov_ ? velocity * momentum - change : velocity);
    OP_REQUIRES_OK(context, context->AssignVariable(kMomentumVar, tensorflow::DT_FLOAT, velocity));
    OP_REQUIRES_OK(context, context->AssignVariable(kVar, tensorflow::DT_FLOAT,
                                                    Masked(context->Input(kMask), weight)));
  }

 private:
  bool use_nesterov_ = false;
};

REGISTER_XLA_OP(Name("KerasSparse>ApplyMaskedMomentum"), ApplyMaskedMomentumLowering);

}  // namespace
}  // namespace keras_sparse
