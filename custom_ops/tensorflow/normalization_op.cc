// Batch normalization of a training step in TensorFlow: three ops and their CPU kernels.
//
// `activation` and `addends` are set by fuse_normalization.cc alone, where a graph has these
// operations beside the normalization. Graphs of version 0.1.0 have `relu` for an activation. The
// gradient by `mean` and `variance` is part of that by `inputs`.
#include <new>

#include "custom_ops/tensorflow/normalization_check.h"
#include "custom_ops/tensorflow/registration.h"
#include "custom_ops/tensorflow/workers.h"
#include "tensorflow/core/framework/op.h"
#include "tensorflow/core/framework/shape_inference.h"

namespace keras_sparse {
namespace {

using tensorflow::OpKernelContext;
using tensorflow::Tensor;
using tensorflow::shape_inference::DimensionHandle;
using tensorflow::shape_inference::InferenceContext;
using tensorflow::shape_inference::ShapeHandle;

// The vector of channels, merged with the shapes of all inputs that are one.
absl::Status ChannelShape(InferenceContext* c, ShapeHandle* inputs, ShapeHandle* channels) {
  TF_RETURN_IF_ERROR(c->WithRankAtLeast(c->input(kNormInputs), 1, inputs));
  *channels = c->Vector(c->RankKnown(*inputs) ? c->Dim(*inputs, -1) : c->UnknownDim());
  for (int i = kScale; i <= kVariance && i < c->num_inputs(); ++i)
    TF_RETURN_IF_ERROR(c->Merge(*channels, c->input(i), channels));
  for (int i = kNormGradient; i < c->num_inputs(); ++i)
    TF_RETURN_IF_ERROR(c->Merge(*inputs, c->input(i), inputs));
  return absl::OkStatus();
}

absl::Status MomentsShape(InferenceContext* c) {
  ShapeHandle inputs, channels;
  TF_RETURN_IF_ERROR(ChannelShape(c, &inputs, &channels));
  c->set_output(0, channels);
  c->set_output(1, channels);
  return absl::OkStatus();
}

// The inputs' shape, and for a gradient two vectors of channels.
absl::Status NormShape(InferenceContext* c) {
  ShapeHandle inputs, channels;
  TF_RETURN_IF_ERROR(ChannelShape(c, &inputs, &channels));
  c->set_output(0, inputs);
  for (int i = 1; i < c->num_outputs(); ++i) c->set_output(i, channels);
  return absl::OkStatus();
}

REGISTER_OP("KerasSparse>BatchMoments")
    .Input("inputs: T")
    .Output("mean: float")
    .Output("variance: float")
    .Attr(KS_TYPE_ATTRIBUTE)
    .SetShapeFn(MomentsShape);

REGISTER_OP("KerasSparse>BatchNorm")
    .Input("inputs: T")
    .Input("scale: float")
    .Input("offset: float")
    .Input("mean: float")
    .Input("variance: float")
    .Output("outputs: T")
    .Attr(KS_TYPE_ATTRIBUTE)
    .Attr("epsilon: float")
    .Attr("relu: bool = false")
    .Attr(ActivationAttribute())
    .SetShapeFn(NormShape);

REGISTER_OP("KerasSparse>BatchNormGradient")
    .Input("inputs: T")
    .Input("scale: float")
    .Input("offset: float")
    .Input("mean: float")
    .Input("variance: float")
    .Input("output_gradient: T")
    .Input("addends: count * T")
    .Output("input_gradient: T")
    .Output("scale_gradient: float")
    .Output("offset_gradient: float")
    .Attr(KS_TYPE_ATTRIBUTE)
    .Attr("epsilon: float")
    .Attr("relu: bool = false")
    .Attr(ActivationAttribute())
    .Attr("count: int >= 0 = 0")
    .SetShapeFn(NormShape);

const float* OfChannels(OpKernelContext* context, int input) {
  return context->input(input).flat<float>().data();
}

ChannelValues ChannelsOf(OpKernelContext* context) {
  return {OfChannels(context, kScale), OfChannels(context, kOffset), OfChannels(context, kMean),
          OfChannels(context, kVariance)};
}

// Checks, then computes on TensorFlow's threads.
template <typename T>
class NormalizationKernel : public tensorflow::OpKernel {
 public:
  using tensorflow::OpKernel::OpKernel;

  void Compute(OpKernelContext* context) final {
    Normalization n = normalization_;
    n.type = TypeOf<T>();
    OP_REQUIRES_OK(context, CheckNormalization(context, &n));
    const auto& workers = *context->device()->tensorflow_cpu_worker_threads();
    std::atomic<bool> out_of_memory = false;  // the loops take none
    try {
      OP_REQUIRES_OK(context, Run(context, n, OnWorkers(workers, &out_of_memory)));
    } catch (const std::bad_alloc&) {
      context->SetStatus(absl::ResourceExhaustedError("Out of memory in a batch normalization."));
    }
  }

 protected:
  static const void* Elements(OpKernelContext* context, int input) {
    return context->input(input).flat<T>().data();
  }

  virtual absl::Status Run(OpKernelContext* context, const Normalization& n,
                           const Parallel& parallel) = 0;

  Normalization normalization_ = {};
};

template <typename T>
class MomentsKernel : public NormalizationKernel<T> {
  using Base = NormalizationKernel<T>;

 public:
  using Base::NormalizationKernel;

  absl::Status Run(OpKernelContext* context, const Normalization& n,
                   const Parallel& parallel) override {
    Tensor *mean = nullptr, *variance = nullptr;
    TF_RETURN_IF_ERROR(context->allocate_output(0, {n.channels}, &mean));
    TF_RETURN_IF_ERROR(context->allocate_output(1, {n.channels}, &variance));
    BatchMoments(n, Base::Elements(context, kNormInputs), mean->flat<float>().data(),
                 variance->flat<float>().data(), parallel);
    return absl::OkStatus();
  }
};

template <typename T>
class NormKernel : public NormalizationKernel<T> {
  using Base = NormalizationKernel<T>;

 public:
  explicit NormKernel(tensorflow::OpKernelConstruction* context) : Base(context) {
    OP_REQUIRES_OK(context, ReadNormalization(context, &this->normalization_));
  }

  absl::Status Run(OpKernelContext* context, const Normalization& n,
                   const Parallel& parallel) override {
    Tensor* outputs = nullptr;
    TF_RETURN_IF_ERROR(context->forward_input_or_allocate_output(
        {kNormInputs}, 0, context->input(kNormInputs).shape(), &outputs));
    BatchNorm(n, Base::Elements(context, kNormInputs), ChannelsOf(context),
              outputs->flat<T>().data(), parallel);
    return absl::OkStatus();
  }
};

template <typename T>
class NormGradientKernel : public NormalizationKernel<T> {
  using Base = NormalizationKernel<T>;

 public:
  explicit NormGradientKernel(tensorflow::OpKernelConstruction* context) : Base(context) {
    OP_REQUIRES_OK(context, ReadNormalization(context, &this->normalization_));
    OP_REQUIRES(context, context->num_inputs() <= kAddend + 1,
                absl::InvalidArgumentError(
                    absl::StrCat("`addends` must be at most one tensor. Received: count=",
                                 context->num_inputs() - kAddend)));
  }

  absl::Status Run(OpKernelContext* context, const Normalization& n,
                   const Parallel& parallel) override {
    const bool adds = context->num_inputs() > kAddend;
    Tensor *by_inputs = nullptr, *by_scale = nullptr, *by_offset = nullptr;
    TF_RETURN_IF_ERROR(context->forward_input_or_allocate_output(
        adds ? std::vector<int>{kNormGradient, kAddend} : std::vector<int>{kNormGradient}, 0,
        context->input(kNormInputs).shape(), &by_inputs));
    TF_RETURN_IF_ERROR(context->allocate_output(1, {n.channels}, &by_scale));
    TF_RETURN_IF_ERROR(context->allocate_output(2, {n.channels}, &by_offset));
    BatchNormGradient(n, Base::Elements(context, kNormGradient),
                      Base::Elements(context, kNormInputs), ChannelsOf(context),
                      adds ? Base::Elements(context, kAddend) : nullptr,
                      by_inputs->flat<T>().data(), by_scale->flat<float>().data(),
                      by_offset->flat<float>().data(), parallel);
    return absl::OkStatus();
  }
};

using tensorflow::DEVICE_CPU;

#define REGISTER_FOR(T, ...)                                                                     \
  KS_REGISTER_KERNEL(Name("KerasSparse>BatchMoments").Device(DEVICE_CPU).TypeConstraint<T>("T"), \
                     MomentsKernel<T>);                                                          \
  KS_REGISTER_KERNEL(Name("KerasSparse>BatchNorm").Device(DEVICE_CPU).TypeConstraint<T>("T"),    \
                     NormKernel<T>);                                                             \
  KS_REGISTER_KERNEL(                                                                            \
      Name("KerasSparse>BatchNormGradient").Device(DEVICE_CPU).TypeConstraint<T>("T"),           \
      NormGradientKernel<T>);

KS_TENSORFLOW_TYPES(REGISTER_FOR)

}  // namespace
}  // namespace keras_sparse
