// What batch normalization becomes under XLA: HLO's own gradient, and arithmetic.
#pragma once

#include "custom_ops/tensorflow/lowering.h"
#include "custom_ops/tensorflow/normalization_check.h"
#include "custom_ops/tensorflow/registration.h"
#include "xla/hlo/builder/lib/arithmetic.h"
#include "xla/hlo/builder/lib/math.h"

namespace keras_sparse {
namespace {

// HLO as a number of contract/activation.h.
struct Hlo {
  xla::XlaOp op;
  xla::XlaOp operator<=(float limit) const { return xla::Le(op, xla::ScalarLike(op, limit)); }
  xla::XlaOp operator>=(float limit) const { return xla::Ge(op, xla::ScalarLike(op, limit)); }
};
Hlo Like(Hlo z, float value) { return {xla::FullLike(z.op, value)}; }
Hlo Select(xla::XlaOp mask, Hlo on_true, Hlo on_false) {
  return {xla::Select(mask, on_true.op, on_false.op)};
}

// Checks, then hands over the inputs as HLO.
class NormalizationLowering : public tensorflow::XlaOpKernel {
 public:
  explicit NormalizationLowering(tensorflow::OpKernelConstruction* context)
      : tensorflow::XlaOpKernel(context) {
    if (context->HasAttr("epsilon"))
      OP_REQUIRES_OK(context, ReadNormalization(context, &normalization_));
  }

  void Compile(tensorflow::XlaOpKernelContext* context) final {
    Normalization n = normalization_;
    OP_REQUIRES_OK(context, CheckNormalization(context, &n));
    channel_axis_ = context->InputShape(kNormInputs).dims() - 1;
    Lower(context, n);
  }

 protected:
  virtual void Lower(tensorflow::XlaOpKernelContext* context, const Normalization& n) = 0;

  // inputs + values, or inputs * values, of each channel.
  xla::XlaOp Add(xla::XlaOp inputs, xla::XlaOp values) const {
    return xla::Add(inputs, values, {channel_axis_});
  }
  xla::XlaOp Multiply(xla::XlaOp inputs, xla::XlaOp values) const {
    return xla::Mul(inputs, values, {channel_axis_});
  }

  // Elements as floats; floats as elements of the inputs' type.
  static xla::XlaOp Floats(tensorflow::XlaOpKernelContext* context, int input) {
    return xla::ConvertElementType(context->Input(input), xla::F32);
  }
  static xla::XlaOp Elements(tensorflow::XlaOpKernelContext* context, xla::XlaOp floats) {
    return xla::ConvertElementType(floats, context->input_xla_type(kNormInputs));
  }

  // Before the activation.
  xla::XlaOp Normal(tensorflow::XlaOpKernelContext* context) const {
    const xla::XlaOp variance = context->Input(kVariance);
    const xla::XlaOp factor =
        context->Input(kScale) *
        xla::Rsqrt(variance + xla::ScalarLike(variance, normalization_.epsilon));
    const xla::XlaOp deviation = Add(Floats(context, kNormInputs), -context->Input(kMean));
    return Add(Multiply(deviation, factor), context->Input(kOffset));
  }

  Normalization normalization_ = {};
  int64_t channel_axis_ = 0;
};

class MomentsLowering : public NormalizationLowering {
 public:
  using NormalizationLowering::NormalizationLowering;

  void Lower(tensorflow::XlaOpKernelContext* context, const Normalization& n) override {
    const xla::XlaOp inputs = Floats(context, kNormInputs);
    std::vector<int64_t> axes;
    for (int64_t axis = 0; axis < channel_axis_; ++axis) axes.push_back(axis);
    const xla::XlaOp zero = xla::ConstantR0<float>(context->builder(), 0);
    const xla::XlaComputation add = xla::CreateScalarAddComputation(xla::F32, context->builder());
    const xla::XlaOp rows = xla::ConstantR0<float>(context->builder(), static_cast<float>(n.rows));
    const xla::XlaOp mean = xla::Reduce(inputs, zero, add, axes) / rows;
    context->SetOutput(0, mean);
    context->SetOutput(1, xla::Reduce(xla::Square(Add(inputs, -mean)), zero, add, axes) / rows);
  }
};

class NormLowering : public NormalizationLowering {
 public:
  using NormalizationLowering::NormalizationLowering;

  void Lower(tensorflow::XlaOpKernelContext* context, const Normalization& n) override {
    const Hlo normal = {Normal(context)};
    const Hlo outputs =
        WithActivation(n.activation, [&](auto activation) { return activation.Outputs(normal); });
    context->SetOutput(0, Elements(context, outputs.op));
  }
};

class NormGradientLowering : public NormalizationLowering {
 public:
  using NormalizationLowering::NormalizationLowering;

  void Lower(tensorflow::XlaOpKernelContext* context, const Normalization& n) override {
    const Hlo by_outputs = {Floats(context, kNormGradient)}, normal = {Normal(context)};
    const Hlo gradient = WithActivation(
        n.activation, [&](auto activation) { return activation.Gradient(normal, by_outputs); });
    const xla::XlaOp gradients = xla::BatchNormGrad(
        Floats(context, kNormInputs), context->Input(kScale), context->Input(kMean),
        context->Input(kVariance), gradient.op, n.epsilon, channel_axis_);
    xla::XlaOp by_inputs = xla::GetTupleElement(gradients, 0);
    if (context->num_inputs() > kAddend) by_inputs = by_inputs + Floats(context, kAddend);
    context->SetOutput(0, Elements(context, by_inputs));
    context->SetOutput(1, xla::GetTupleElement(gradients, 1));
    context->SetOutput(2, xla::GetTupleElement(gradients, 2));
  }
};

KS_REGISTER_XLA_OP(Name("KerasSparse>BatchMoments"), MomentsLowering);
KS_REGISTER_XLA_OP(Name("KerasSparse>BatchNorm"), NormLowering);
KS_REGISTER_XLA_OP(Name("KerasSparse>BatchNormGradient"), NormGradientLowering);

}  // namespace
}  // namespace keras_sparse
