// The products on a GPU inside of TensorFlow: by blocks on tensor cores, or on CUDA cores, on
// TensorFlow's stream. The attributes `structure` and `block` choose. A mask of another structure
// gives the right result, but takes longer.
#pragma once

#include <string>

#include "custom_ops/tensorflow/check.h"
#include "custom_ops/tensorflow/gpu_launch.h"
#include "custom_ops/tensorflow/registration.h"
#include "tensorflow/core/framework/device_base.h"
#include "xla/stream_executor/device_address.h"
#include "xla/stream_executor/stream.h"

namespace keras_sparse {

template <class Rules, typename T, Product kProduct>
class GpuProductKernel : public tensorflow::OpKernel {
 public:
  explicit GpuProductKernel(tensorflow::OpKernelConstruction* context)
      : tensorflow::OpKernel(context) {
    OP_REQUIRES_OK(context, rules_.Read(context));
    OP_REQUIRES_OK(context, ReadStructure(context, &structure_));
    OP_REQUIRES_OK(context, RefuseCpuFlags<kProduct>(context));
  }

  void Compute(tensorflow::OpKernelContext* context) override {
    auto call = CheckProduct(kProduct, rules_, context);
    OP_REQUIRES_OK(context, call.status());
    call->convolution.type = TypeOf<T>();
    call->convolution.structure = structure_;
    tensorflow::Tensor* result = nullptr;
    OP_REQUIRES_OK(context, context->allocate_output(0, call->result, &result));
    if (call->convolution.IsEmpty()) {
      OP_REQUIRES_OK(context, FillWithZeros(context, result));
      return;
    }
    const char* why = WhyNotOnGpu(kProduct, call->convolution);
    OP_REQUIRES(context, why == nullptr, Unsupported(why, call->convolution));
    OP_REQUIRES_OK(context, Run(context, call->convolution, result));
  }

 private:
  static absl::Status FillWithZeros(tensorflow::OpKernelContext* context,
                                    tensorflow::Tensor* result) {
    if (result->TotalBytes() == 0) return absl::OkStatus();
    stream_executor::DeviceAddressBase memory(result->data(), result->TotalBytes());
    return context->op_device_context()->stream()->MemZero(&memory, result->TotalBytes());
  }

  static absl::Status Run(tensorflow::OpKernelContext* context, const Convolution& c,
                          tensorflow::Tensor* result) {
    constexpr ProductInputs kInputs = InputsOf(kProduct);
    const int64_t bytes = GpuWorkspace(kProduct, c);
    tensorflow::Tensor workspace;
    TF_RETURN_IF_ERROR(
        context->allocate_temp(tensorflow::DT_UINT8, tensorflow::TensorShape({bytes}), &workspace));
    const std::string problem = LaunchOnGpu(
        kProduct, c,
        {context->input(kInputs.first).data(), context->input(kInputs.second).data(),
         context->input(kInputs.mask).flat<bool>().data(), result->data(), workspace.data()},
        context->op_device_context()->stream()->platform_specific_handle().stream);
    return problem.empty() ? absl::OkStatus() : absl::InternalError(problem);
  }

  Rules rules_;
  MaskStructure structure_;
};

}  // namespace keras_sparse

// The three kernels of a product for a type. The flag, which only gradients in Python read, may
// stay on the GPU: nothing waits for it.
#define KERAS_SPARSE_REGISTER_PRODUCT(TYPE, NAME, RULES, PRODUCT)                         \
  KS_REGISTER_KERNEL(Name(NAME).Device(tensorflow::DEVICE_GPU).TypeConstraint<TYPE>("T"), \
                     GpuProductKernel<RULES, TYPE, Product::PRODUCT>);

#define KERAS_SPARSE_REGISTER_ON_GPU(TYPE, TYPE_NAME, NAME, RULES)                 \
  KERAS_SPARSE_REGISTER_PRODUCT(TYPE, NAME, RULES, kForward)                       \
  KERAS_SPARSE_REGISTER_PRODUCT(TYPE, NAME "InputGradient", RULES, kInputGradient) \
  KERAS_SPARSE_REGISTER_PRODUCT(TYPE, NAME "KernelGradient", RULES, kKernelGradient)
