// Batch normalization of a training step in TensorFlow: three ops and their CPU kernels.
//
// `relu` and `addends` are set by fuse_normalization.cc alone, where a graph has these operations
// beside the normalization. The gradient by `mean` and `variance` is part of that by `inputs`.
#include <new>

#include "custom_ops/tensorflow/cpu_kernel.h"
#include "custom_ops/tensorflow/normalization_check.h"
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
    .Input("inputs: float")
    .Output("mean: float")
    .Output("variance: float")
    .SetShapeFn(MomentsShape);

REGISTER_OP("KerasSparse>BatchNorm")
    .Input("inputs: float")
    .Input("scale: float")
    .Input("offset: float")
    .Input("mean: float")
    .Input("variance: float")
    .Output("outputs: float")
    .Attr("epsilon: float")
    .Attr("relu: bool = false")
    .SetShapeFn(NormShape);

REGISTER_OP("KerasSparse>BatchNormGradient")
    .Input("inputs: float")
    .Input("scale: float")
    .Input("offset: float")
    .Input("mean: float")
    .Input("variance: float")
    .Input("output_gradient: float")
    .Input("addends: count * float")
    .Output("input_gradient: float")
    .Output("scale_gradient: float")
    .Output("offset_gradient: float")
    .Attr("epsilon: float")
    .Attr("relu: bool = false")
    .Attr("count: int >= 0 = 0")
    .SetShapeFn(NormShape);

const float* Values(OpKernelContext* context, int input) {
  return context->input(input).flat<float>().data();
}

ChannelValues ChannelsOf(OpKernelContext* context) {
  return {Values(context, kScale), Values(context, kOffset), Values(context, kMean),
          Values(context, kVariance)};
}

// Checks, then computes on TensorFlow's threads.
class NormalizationKernel : public tensorflow::OpKernel {
 public:
  using tensorflow::OpKernel::OpKernel;

  void Compute(OpKernelContext* context) final {
    Normalization n = normalization_;
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
  virtual absl::Status Run(OpKernelContext* context, const Normalization& n,
                           const Parallel& parallel) = 0;

  Normalization normalization_ = {};
};

class MomentsKernel : public NormalizationKernel {
 public:
  using NormalizationKernel::NormalizationKernel;

  absl::Status Run(OpKernelContext* context, const Normalization& n,
                   const Parallel& parallel) override {
    Tensor *mean = nullptr, *variance = nullptr;
    TF_RETURN_IF_ERROR(context->allocate_output(0, {n.channels}, &mean));
    TF_RETURN_IF_ERROR(context->allocate_output(1, {n.channels}, &variance));
    BatchMoments(n, Values(context, kNormInputs), mean->flat<float>().data(),
                 variance->flat<float>().data(), parallel);
    return absl::OkStatus();
  }
};

class NormKernel : public NormalizationKernel {
 public:
  explicit NormKernel(tensorflow::OpKernelConstruction* context) : NormalizationKernel(context) {
    OP_REQUIRES_OK(context, ReadNormalization(context, &normalization_));
  }

  absl::Status Run(OpKernelContext* context, const Normalization& n,
                   const Parallel& parallel) override {
    Tensor* outputs = nullptr;
    TF_RETURN_IF_ERROR(context->forward_input_or_allocate_output(
        {kNormInputs}, 0, context->input(kNormInputs).shape(), &outputs));
    BatchNorm(n, Values(context, kNormInputs), ChannelsOf(context), outputs->flat<float>().data(),
              parallel);
    return absl::OkStatus();
  }
};

class NormGradientKernel : public NormalizationKernel {
 public:
  explicit NormGradientKernel(tensorflow::OpKernelConstruction* context)
      : NormalizationKernel(context) {
    OP_REQUIRES_OK(context, ReadNormalization(context, &normalization_));
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
    BatchNormGradient(n, Values(context, kNormGradient), Values(context, kNormInputs),
                      ChannelsOf(context), adds ? Values(context, kAddend) : nullptr,
                      by_inputs->flat<float>().data(), by_scale->flat<float>().data(),
                      by_offset->flat<float>().data(), parallel);
    return absl::OkStatus();
  }
};

using tensorflow::DEVICE_CPU;

REGISTER_KERNEL_BUILDER(Name("KerasSparse>BatchMoments").Device(DEVICE_CPU), MomentsKernel);
REGISTER_KERNEL_BUILDER(Name("KerasSparse>BatchNorm").Device(DEVICE_CPU), NormKernel);
REGISTER_KERNEL_BUILDER(Name("KerasSparse>BatchNormGradient").Device(DEVICE_CPU),
                        NormGradientKernel);

}  // namespace
}  // namespace keras_sparse
