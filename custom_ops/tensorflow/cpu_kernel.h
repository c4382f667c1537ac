// The products on a CPU inside of TensorFlow: with the plans of the last calls, on TensorFlow's
// threads.
#pragma once

#include <algorithm>
#include <atomic>
#include <new>
#include <string>
#include <vector>

#include "custom_ops/cpu/thread_memory.h"
#include "custom_ops/tensorflow/check.h"
#include "custom_ops/tensorflow/kept_plans.h"
#include "custom_ops/tensorflow/product_epilogue.h"
#include "custom_ops/tensorflow/registration.h"
#include "custom_ops/tensorflow/shared_values.h"
#include "custom_ops/tensorflow/workers.h"

namespace keras_sparse {

template <class Rules, typename T, Product kProduct>
class CpuProductKernel : public tensorflow::OpKernel {
 public:
  explicit CpuProductKernel(tensorflow::OpKernelConstruction* context)
      : tensorflow::OpKernel(context) {
    OP_REQUIRES_OK(context, rules_.Read(context));
    OP_REQUIRES_OK(context, ReadStructure(context, &structure_));
    OP_REQUIRES_OK(context, ReadCpuFlags<kProduct>(context, &flags_));
    OP_REQUIRES(context, !flags_.kernel_in_floats || sizeof(T) == 2,
                absl::InvalidArgumentError("`kernel_in_floats` must be false for T=float32. "
                                           "Received: kernel_in_floats=true"));
    if (kProduct != Product::kKernelGradient) {
      OP_REQUIRES_OK(context, context->GetAttr("shared_values", &shared_values_));
      OP_REQUIRES_OK(context, context->GetAttr("keeps_values", &keeps_values_));
    }
    if (kProduct == Product::kForward)
      OP_REQUIRES_OK(context, context->GetAttr("handed_values", &handed_values_));
    if (kProduct != Product::kForward)
      OP_REQUIRES_OK(context, context->GetAttr("shared_gradient", &shared_gradient_));
    OP_REQUIRES_OK(context, epilogue_.Read(context, kInputs.count));
  }

  ~CpuProductKernel() override {
    for (const std::string& name : {shared_values_, handed_values_, shared_gradient_})
      if (!name.empty()) SharedValues::Forget(name);
  }

  void Compute(tensorflow::OpKernelContext* context) override {
    auto call = CheckProduct(kProduct, rules_, context, flags_.kernel_in_floats);
    OP_REQUIRES_OK(context, call.status());
    call->convolution.type = TypeOf<T>();
    call->convolution.structure = structure_;
    OP_REQUIRES_OK(context, epilogue_.Check(context, *call));
    if (call->convolution.IsEmpty()) {
      OP_REQUIRES_OK(context, RunEmpty(context, call->result));
      return;
    }
    const char* why = WhyNotOnCpu(call->convolution);
    OP_REQUIRES(context, why == nullptr, Unsupported(why, call->convolution));
    OP_REQUIRES_OK(context, Run(context, *call));
  }

 private:
  static constexpr ProductInputs kInputs = InputsOf(kProduct);

  absl::Status RunEmpty(tensorflow::OpKernelContext* context,
                        const tensorflow::TensorShape& shape) const {
    tensorflow::Tensor zeros;
    TF_RETURN_IF_ERROR(context->allocate_temp(tensorflow::DataTypeToEnum<T>::value, shape, &zeros));
    std::fill_n(zeros.flat<T>().data(), zeros.NumElements(), T(0));
    std::vector<float> memory;
    epilogue_.Finish(epilogue_.Of(context, shape, &memory), &zeros);
    return epilogue_.SetOutput(context, zeros);
  }

  absl::Status Run(tensorflow::OpKernelContext* context, const ProductCall& call) {
    const auto& workers = *context->device()->tensorflow_cpu_worker_threads();
    std::atomic<bool> out_of_memory = false;
    try {
      if (kProduct == Product::kKernelGradient && TakeGradient(context)) return absl::OkStatus();
      const auto plan =
          plans_.Get(kProduct, call.convolution, context->input(kInputs.mask), workers.num_threads,
                     keeps_values_ ? PlansOfLastCalls::kMost : 1);
      tensorflow::Tensor result;
      const bool is_list = kProduct == Product::kKernelGradient && flags_.as_list;
      const bool keeps_gradient = KeepsGradient(call, *plan->plan);
      const bool is_own = keeps_gradient && gradient_.Take(plan, &result);
      const tensorflow::TensorShape shape = is_list ? ListShape(*plan->plan) : call.result;
      if (!is_own)
        TF_RETURN_IF_ERROR(context->allocate_temp(tensorflow::DataTypeToEnum<T>::value, shape,
                                                  &result, context->output_alloc_attr(0)));
      const Parallel parallel = OnWorkers(workers, &out_of_memory);
      std::vector<float> memory;
      const Epilogue epilogue = epilogue_.Of(context, call.result, &memory);
      if constexpr (kProduct == Product::kForward) {
        TF_RETURN_IF_ERROR(RunForward(plan, context, epilogue, parallel, &result));
      } else if constexpr (kProduct == Product::kInputGradient) {
        TF_RETURN_IF_ERROR(
            RunInputGradient(plan, context, epilogue, parallel, &result, &out_of_memory));
      } else {
        RunPlan(plan, context, {}, parallel, is_own, &result);
      }
      if (!plan->plan->HasEpilogue()) epilogue_.Finish(epilogue, &result);
      TF_RETURN_IF_ERROR(epilogue_.SetOutput(context, result));
      if (keeps_gradient && !out_of_memory) gradient_.Keep(plan, result);
    } catch (const std::bad_alloc&) {
      out_of_memory = true;
    }
    if (out_of_memory) return absl::ResourceExhaustedError("Out of memory in a sparse product.");
    return absl::OkStatus();
  }

  // Of a list, or of all weights' gradient, the next call could use nothing: it has no zeros.
  bool KeepsGradient(const ProductCall& call, const ConvPlan& plan) const {
    return kProduct == Product::kKernelGradient && !flags_.as_list &&
           plan.ActiveWeights() < call.convolution.sizes.weights();
  }

  static tensorflow::TensorShape ListShape(const ConvPlan& plan) {
    return tensorflow::TensorShape({plan.ActiveWeights()});
  }

  static typename SharedValues::Tensors KernelAndMask(tensorflow::OpKernelContext* context) {
    return {context->input(kInputs.kernel), context->input(kInputs.mask)};
  }

  // How many values a pair of products shares, so that it reads a large kernel once.
  int64_t CountOfShared(const ConvPlan& plan, tensorflow::OpKernelContext* context) const {
    const bool is_large = context->input(kInputs.kernel).TotalBytes() >= kLargeKernel;
    const bool shares = !shared_values_.empty() || !handed_values_.empty();
    return shares && is_large ? plan.SharedValues() : 0;
  }

  absl::Status RunForward(const PlansOfLastCalls::Plan& plan, tensorflow::OpKernelContext* context,
                          const Epilogue& epilogue, const Parallel& parallel,
                          tensorflow::Tensor* result) {
    const int64_t count = CountOfShared(*plan->plan, context);
    if (count == 0) {
      RunPlan(plan, context, epilogue, parallel, false, result);
      return absl::OkStatus();
    }
    const void *inputs = context->input(0).flat<T>().data(),
               *kernel = context->input(1).flat<T>().data();
    void* const outputs = result->flat<T>().data();
    tensorflow::Tensor values;
    if (SharedValues::Take(handed_values_, KernelAndMask(context), &values)) {
      plan->plan->RunShared(inputs, values.flat<float>().data(), outputs, epilogue, parallel);
    } else {
      TF_RETURN_IF_ERROR(context->allocate_temp(tensorflow::DT_FLOAT, {count}, &values));
      plan->plan->RunAndShare(inputs, kernel, outputs, values.flat<float>().data(), epilogue,
                              parallel);
    }
    if (!shared_values_.empty())
      SharedValues::Put(shared_values_, {KernelAndMask(context), values});
    return absl::OkStatus();
  }

  absl::Status RunInputGradient(const PlansOfLastCalls::Plan& plan,
                                tensorflow::OpKernelContext* context, const Epilogue& epilogue,
                                const Parallel& parallel, tensorflow::Tensor* result,
                                std::atomic<bool>* out_of_memory) {
    tensorflow::Tensor values;
    const bool has_values = CountOfShared(*plan->plan, context) > 0 &&
                            SharedValues::Take(shared_values_, KernelAndMask(context), &values);
    const float* shared = has_values ? values.flat<float>().data() : nullptr;
    const bool is_dense = context->input(kInputs.dense_weight_gradient).scalar<bool>()();
    if (!shared_gradient_.empty() && !is_dense && plan->plan->GainsByBoth())
      return RunBoth(plan, context, epilogue, parallel, shared, result, out_of_memory);
    if (has_values) {
      plan->plan->RunShared(context->input(kInputs.first).flat<T>().data(), shared,
                            result->flat<T>().data(), epilogue, parallel);
    } else {
      RunPlan(plan, context, epilogue, parallel, false, result);
    }
    return absl::OkStatus();
  }

  // The kernel gradient, too: a later operation takes it.
  absl::Status RunBoth(const PlansOfLastCalls::Plan& plan, tensorflow::OpKernelContext* context,
                       const Epilogue& epilogue, const Parallel& parallel, const float* shared,
                       tensorflow::Tensor* result, std::atomic<bool>* out_of_memory) {
    const tensorflow::Tensor &inputs = context->input(0), &kernel = context->input(1),
                             &mask = context->input(2), &output_gradient = context->input(3);
    tensorflow::Tensor by_kernel;
    const bool is_own = !flags_.as_list && gradient_.Take(plan, &by_kernel);
    if (!is_own)
      TF_RETURN_IF_ERROR(context->allocate_temp(
          tensorflow::DataTypeToEnum<T>::value,
          flags_.as_list ? ListShape(*plan->plan) : mask.shape(), &by_kernel));
    plan->plan->RunBoth({output_gradient.flat<T>().data(), kernel.flat<T>().data(), shared,
                         inputs.flat<T>().data(), result->flat<T>().data(),
                         by_kernel.flat<T>().data(), is_own, flags_.as_list, epilogue.addend},
                        parallel);
    if (*out_of_memory) return absl::OkStatus();  // the caller says it
    SharedValues::Put(shared_gradient_, {{inputs, mask, output_gradient}, by_kernel});
    if (!flags_.as_list) gradient_.Keep(plan, by_kernel);
    return absl::OkStatus();
  }

  // What the input gradient has computed beside its own result.
  bool TakeGradient(tensorflow::OpKernelContext* context) {
    tensorflow::Tensor gradient;
    if (shared_gradient_.empty() ||
        !SharedValues::Take(shared_gradient_,
                            {context->input(0), context->input(1), context->input(2)}, &gradient))
      return false;
    context->set_output(0, gradient);
    return true;
  }

  void RunPlan(const PlansOfLastCalls::Plan& plan, tensorflow::OpKernelContext* context,
               const Epilogue& epilogue, const Parallel& parallel, bool is_own,
               tensorflow::Tensor* result) {
    const tensorflow::Tensor &first = context->input(kInputs.first),
                             &second = context->input(kInputs.second);
    T* const values_of_result = result->flat<T>().data();
    const bool keeps = keeps_values_ || plan->plan->GainsMostByKeptValues();
    if (keeps && plan->plan->KeptValues() > 0) {
      const auto values = plan->values.Get(*plan->plan, second, parallel);
      plan->plan->RunWithValues(first.data(), values->data(), values_of_result, epilogue, parallel);
      return;
    }
    if (epilogue_.Exists() && plan->plan->HasEpilogue()) {
      float* const values = ThreadMemory::Get(ThreadMemory::kValues, plan->plan->KeptValues());
      plan->plan->ReadValues(second.data(), values, parallel);
      plan->plan->RunWithValues(first.data(), values, values_of_result, epilogue, parallel);
      return;
    }
    if (kProduct == Product::kKernelGradient && flags_.as_list) {
      plan->plan->RunToList(first.flat<T>().data(), second.flat<T>().data(), values_of_result,
                            parallel);
      return;
    }
    plan->plan->Run(first.flat<T>().data(), second.flat<T>().data(), values_of_result, parallel,
                    is_own);
  }

  Rules rules_;
  MaskStructure structure_;
  CpuFlags flags_;
  // Names of pairs of products, and of a product and a step; or none.
  std::string shared_values_, handed_values_, shared_gradient_;
  ProductEpilogue<T> epilogue_;
  bool keeps_values_ = false;  // nobody trains the kernel
  PlansOfLastCalls plans_;
  GradientOfLastCall gradient_;  // by the kernel
};

}  // namespace keras_sparse

// The kernels of a product for a type.
#define KERAS_SPARSE_REGISTER_ON_CPU(TYPE, TYPE_NAME, NAME, RULES)             \
  KERAS_SPARSE_REGISTER_ONE(TYPE, NAME, RULES, kForward)                       \
  KERAS_SPARSE_REGISTER_ONE(TYPE, NAME "WithBias", RULES, kForward)            \
  KERAS_SPARSE_REGISTER_ONE(TYPE, NAME "InputGradient", RULES, kInputGradient) \
  KERAS_SPARSE_REGISTER_ONE(TYPE, NAME "KernelGradient", RULES, kKernelGradient)

// Of those that fuse_sums.cc makes.
#define KERAS_SPARSE_REGISTER_SUMS_ON_CPU(TYPE, TYPE_NAME, NAME, RULES) \
  KERAS_SPARSE_REGISTER_ONE(TYPE, NAME "WithSum", RULES, kForward)      \
  KERAS_SPARSE_REGISTER_ONE(TYPE, NAME "InputGradientWithSum", RULES, kInputGradient)

#define KERAS_SPARSE_REGISTER_ONE(TYPE, NAME, RULES, PRODUCT)                             \
  KS_REGISTER_KERNEL(Name(NAME).Device(tensorflow::DEVICE_CPU).TypeConstraint<TYPE>("T"), \
                     CpuProductKernel<RULES, TYPE, Product::PRODUCT>);
