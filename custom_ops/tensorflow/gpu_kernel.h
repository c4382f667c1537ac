// How do the products run on a GPU inside of TensorFlow? By blocks on tensor cores, or on CUDA
// cores, on TensorFlow's stream.
//
// The attribute `block` says what the mask is made of: 16, 32 or 64: blocks of so many input and
// output channels; 1: all taps of a pair of channels share the mask; 0: single weights. A mask that
// is not made so gives the right result, late. Only files of this folder may include this one.
#pragma once

#include <string>

#include "custom_ops/cuda/cores.h"
#include "custom_ops/tensorflow/product_check.h"
#include "custom_ops/triton/blocks.h"
#include "tensorflow/core/framework/device_base.h"
#include "xla/stream_executor/device_address.h"
#include "xla/stream_executor/stream.h"

namespace keras_sparse {

template <typename T>
constexpr ElementType TypeOf() {
  return std::is_same_v<T, float>                  ? ElementType::kFloat32
         : std::is_same_v<T, tensorflow::bfloat16> ? ElementType::kBFloat16
                                                   : ElementType::kFloat16;
}

template <class Rules, typename T>
class GpuProductKernel : public tensorflow::OpKernel {
 public:
  GpuProductKernel(tensorflow::OpKernelConstruction* context, Product product)
      : tensorflow::OpKernel(context), product_(product) {
    OP_REQUIRES_OK(context, rules_.Read(context));
    OP_REQUIRES_OK(context, context->GetAttr("block", &block_));
  }

 protected:
  // output 0, of this shape <- the product of inputs `first` and `second`, which are those of
  // ConvPlan::Run.
  void Run(tensorflow::OpKernelContext* context, const ConvSizes& sizes, int mask, int first,
           int second, const tensorflow::TensorShape& shape) {
    tensorflow::Tensor* result = nullptr;
    OP_REQUIRES_OK(context, context->allocate_output(0, shape, &result));
    auto* stream = context->op_device_context()->stream();
    if (sizes.inputs() == 0 || sizes.weights() == 0 || sizes.outputs() == 0) {  // sums of nothing
      stream_executor::DeviceAddressBase memory(result->data(), result->TotalBytes());
      if (result->TotalBytes() != 0)
        OP_REQUIRES_OK(context, stream->MemZero(&memory, result->TotalBytes()));
      return;
    }
    const char* why = WhyNot(sizes);
    OP_REQUIRES(context, why == nullptr, UnsupportedSizes(why, sizes));
    tensorflow::Tensor workspace;
    OP_REQUIRES_OK(context,
                   context->allocate_temp(tensorflow::DT_UINT8,
                                          tensorflow::TensorShape({Workspace(sizes)}), &workspace));
    const auto* mask_values = context->input(mask).flat<bool>().data();
    const std::string problem = Launch(sizes,
                                       {context->input(first).data(), context->input(second).data(),
                                        mask_values, result->data(), workspace.data()},
                                       stream->platform_specific_handle().stream);
    OP_REQUIRES(context, problem.empty(), absl::InternalError(problem));
  }

  Rules rules_;

 private:
  bool InBlocks() const { return block_ > 1; }
  BlockCall Call(const ConvSizes& sizes) const { return {product_, sizes, TypeOf<T>(), block_}; }
  MaskStructure Structure() const {
    return block_ == 1 ? MaskStructure::kChannelPairs : MaskStructure::kWeights;
  }

  const char* WhyNot(const ConvSizes& sizes) const {
    if (InBlocks()) return WhyNotInBlocks(Call(sizes));
    if (!std::is_same_v<T, float>)
      return "single weights and pairs of channels have kernels for float32 alone on GPUs";
    return WhyNotOnCudaCores(product_, sizes, Structure());
  }

  int64_t Workspace(const ConvSizes& sizes) const {
    return InBlocks() ? BlockWorkspace(Call(sizes))
                      : CudaCoresWorkspace(product_, sizes, Structure());
  }

  // An empty string, or what went wrong.
  std::string Launch(const ConvSizes& sizes, const BlockPointers& p, void* stream) const {
    if (InBlocks()) return RunInBlocks(Call(sizes), p, stream);
    const int error = RunOnCudaCores(
        product_, sizes, Structure(), p.mask, static_cast<const float*>(p.first),
        static_cast<const float*>(p.second), static_cast<float*>(p.result), p.workspace, stream);
    return error == 0 ? "" : absl::StrCat("launching a kernel failed with CUDA's error ", error);
  }

  const Product product_;
  int block_ = 0;
};

template <class Rules, typename T>
class GpuForwardKernel : public GpuProductKernel<Rules, T> {
 public:
  explicit GpuForwardKernel(tensorflow::OpKernelConstruction* context)
      : GpuProductKernel<Rules, T>(context, Product::kForward) {}

  void Compute(tensorflow::OpKernelContext* context) override {
    const auto call = CheckForward(this->rules_, context);
    OP_REQUIRES_OK(context, call.status());
    this->Run(context, call->sizes, 2, 0, 1, call->output);
  }
};

template <class Rules, typename T>
class GpuInputGradientKernel : public GpuProductKernel<Rules, T> {
 public:
  explicit GpuInputGradientKernel(tensorflow::OpKernelConstruction* context)
      : GpuProductKernel<Rules, T>(context, Product::kInputGradient) {}

  void Compute(tensorflow::OpKernelContext* context) override {
    const auto call = CheckInputGradient(this->rules_, context);
    OP_REQUIRES_OK(context, call.status());
    this->Run(context, call->sizes, 2, 3, 1, context->input(0).shape());
  }
};

template <class Rules, typename T>
class GpuKernelGradientKernel : public GpuProductKernel<Rules, T> {
 public:
  explicit GpuKernelGradientKernel(tensorflow::OpKernelConstruction* context)
      : GpuProductKernel<Rules, T>(context, Product::kKernelGradient) {}

  void Compute(tensorflow::OpKernelContext* context) override {
    const auto call = CheckKernelGradient(this->rules_, context);
    OP_REQUIRES_OK(context, call.status());
    this->Run(context, call->sizes, 1, 0, 2, context->input(1).shape());
  }
};

}  // namespace keras_sparse

// The three kernels of a product for a type. The flag, which only gradients in Python read, stays
// on the host.
#define KERAS_SPARSE_REGISTER_ON_GPU(NAME, RULES, TYPE)                                     \
  REGISTER_KERNEL_BUILDER(Name(NAME)                                                        \
                              .Device(tensorflow::DEVICE_GPU)                               \
                              .HostMemory("dense_weight_gradient")                          \
                              .TypeConstraint<TYPE>("T"),                                   \
                          GpuForwardKernel<RULES, TYPE>);                                   \
  REGISTER_KERNEL_BUILDER(Name(NAME "InputGradient")                                        \
                              .Device(tensorflow::DEVICE_GPU)                               \
                              .HostMemory("dense_weight_gradient")                          \
                              .TypeConstraint<TYPE>("T"),                                   \
                          GpuInputGradientKernel<RULES, TYPE>);                             \
  REGISTER_KERNEL_BUILDER(                                                                  \
      Name(NAME "KernelGradient").Device(tensorflow::DEVICE_GPU).TypeConstraint<TYPE>("T"), \
      GpuKernelGradientKernel<RULES, TYPE>);
