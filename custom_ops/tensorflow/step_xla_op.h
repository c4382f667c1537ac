// What the step of a masked weight becomes under XLA: arithmetic and a select.
#pragma once

#include "custom_ops/tensorflow/lowering.h"
#include "custom_ops/tensorflow/registration.h"
#include "custom_ops/tensorflow/step_check.h"

namespace keras_sparse {
namespace {

// The values of the variables, in their order, and what a step makes of them.
using Values = std::vector<xla::XlaOp>;

class MomentumArithmetic {
 public:
  explicit MomentumArithmetic(tensorflow::OpKernelConstruction* context) {
    OP_REQUIRES_OK(context, context->GetAttr("use_nesterov", &use_nesterov_));
  }

  Values operator()(tensorflow::XlaOpKernelContext* context, const Values& old) const {
    const xla::XlaOp momentum = context->Input(kMomentum);
    const xla::XlaOp change = context->Input(kGradient) * context->Input(kLearningRate);
    const xla::XlaOp velocity = old[1] * momentum - change;
    return {old[0] + (use_nesterov_ ? velocity * momentum - change : velocity), velocity};
  }

 private:
  bool use_nesterov_ = false;
};

class AdamArithmetic {
 public:
  explicit AdamArithmetic(tensorflow::OpKernelConstruction*) {}

  Values operator()(tensorflow::XlaOpKernelContext* context, const Values& old) const {
    const xla::XlaOp gradient = context->Input(kGradient);
    const xla::XlaOp momentum = old[1] + (gradient - old[1]) * context->Input(kOneMinusBeta1);
    const xla::XlaOp velocity =
        old[2] + (gradient * gradient - old[2]) * context->Input(kOneMinusBeta2);
    const xla::XlaOp divisor = xla::Sqrt(velocity) + context->Input(kEpsilon);
    return {old[0] - momentum * context->Input(kRate) / divisor, momentum, velocity};
  }
};

template <class Step, class Arithmetic>
class ApplyMaskedStepLowering : public tensorflow::XlaOpKernel {
 public:
  explicit ApplyMaskedStepLowering(tensorflow::OpKernelConstruction* context)
      : tensorflow::XlaOpKernel(context), arithmetic_(context) {}

  void Compile(tensorflow::XlaOpKernelContext* context) override {
    const std::vector<NamedInput>& variables = VariablesOf<Step>();
    Values values(variables.size());
    std::vector<tensorflow::TensorShape> shapes(variables.size());
    for (size_t i = 0; i < variables.size(); ++i)
      OP_REQUIRES_OK(context, context->ReadVariableInput(variables[i].input, tensorflow::DT_FLOAT,
                                                         &shapes[i], &values[i]));
    OP_REQUIRES_OK(context, CheckStep<Step>(context, shapes));
    values = arithmetic_(context, values);
    values[0] = Masked(context->Input(kMask), values[0]);
    for (size_t i = 0; i < variables.size(); ++i)
      OP_REQUIRES_OK(context,
                     context->AssignVariable(variables[i].input, tensorflow::DT_FLOAT, values[i]));
  }

 private:
  Arithmetic arithmetic_;
};

using MomentumLowering = ApplyMaskedStepLowering<MomentumStep, MomentumArithmetic>;
using AdamLowering = ApplyMaskedStepLowering<AdamStep, AdamArithmetic>;
KS_REGISTER_XLA_OP(Name(kMomentumOp), MomentumLowering);
KS_REGISTER_XLA_OP(Name(kAdamOp), AdamLowering);

}  // namespace
}  // namespace keras_sparse
