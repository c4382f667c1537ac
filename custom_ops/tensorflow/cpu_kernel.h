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
#include "custom_ops/tensorflow/shared_values.h"
#include "tensorflow/core/util/work_sharder.h"

// Of a product with a bias: fuse_bias.cc sets it.
#define KERAS_SPARSE_ACTIVATION Attr("activation: {'None', 'Relu', 'Relu6'} = 'None'")

namespace keras_sparse {

// Parts run on TensorFlow's worker threads. A part that finds no memory says so: no exception may
// cross those threads.
inline Parallel OnWorkers(const tensorflow::DeviceBase::CpuWorkerThreads& workers,
                          std::atomic<bool>* out_of_memory) {
  Parallel parallel;
  parallel.threads = workers.num_threads;
  parallel.run = [&workers, out_of_memory](int64_t parts, int64_t cycles,
                                           const std::function<void(int64_t)>& part) {
    tensorflow::Shard(workers.num_threads, workers.workers, parts, cycles,
                      [&](int64_t begin, int64_t end) {
                        try {
                          for (int64_t i = begin; i < end; ++i) part(i);
                        } catch (const std::bad_alloc&) {
                          *out_of_memory = true;
                        }
                      });
  };
  return parallel;
}

constexpr size_t kLargeKernel = 2 << 20;  // bytes; a smaller one costs little to read twice

template <class Rules, typename T, Product kProduct>
class CpuProductKernel : public tensorflow::OpKernel {
 public:
  explicit CpuProductKernel(tensorflow::OpKernelConstruction* context)
      : tensorflow::OpKernel(context) {
    OP_REQUIRES_OK(context, rules_.Read(context));
    OP_REQUIRES_OK(context, ReadStructure(context, &structure_));
    OP_REQUIRES_OK(context, ReadAsList<kProduct>(context, &as_list_));
    if (kProduct != Product::kKernelGradient) {
      OP_REQUIRES_OK(context, context->GetAttr("shared_values", &shared_values_));
      OP_REQUIRES_OK(context, context->GetAttr("keeps_values", &keeps_values_));
    }
    if (kProduct == Product::kForward)
      OP_REQUIRES_OK(context, context->GetAttr("handed_values", &handed_values_));
    if (kProduct != Product::kForward)
      OP_REQUIRES_OK(context, context->GetAttr("shared_gradient", &shared_gradient_));
    has_bias_ = context->HasAttr("activation");
    if (has_bias_) OP_REQUIRES_OK(context, ReadBounds(context));
  }

  ~CpuProductKernel() override {
    for (const std::string& name : {shared_values_, handed_values_, shared_gradient_})
      if (!name.empty()) SharedValues::Forget(name);
  }

  void Compute(tensorflow::OpKernelContext* context) override {
    auto call = CheckProduct(kProduct, rules_, context);
    OP_REQUIRES_OK(context, call.status());
    call->convolution.type = TypeOf<T>();
    call->convolution.structure = structure_;
    if (has_bias_) {
      const tensorflow::TensorShape& bias = context->input(kBias).shape();
      const bool fits =
          bias.dims() == 1 && bias.dim_size(0) == call->convolution.sizes.out_channels;
      OP_REQUIRES(context, fits, BadShape("bias", "have a number for each output channel", bias));
    }
    if (call->convolution.IsEmpty()) {
      tensorflow::Tensor* zeros = nullptr;
      OP_REQUIRES_OK(context, context->allocate_output(0, call->result, &zeros));
      std::fill_n(zeros->flat<T>().data(), zeros->NumElements(), T(0));
      std::vector<float> memory;
      AddBias(EpilogueOf(context, &memory), call->convolution.sizes.out_channels, zeros);
      return;
    }
    const char* why = WhyNotOnCpu(call->convolution);
    OP_REQUIRES(context, why == nullptr, Unsupported(why, call->convolution));
    OP_REQUIRES_OK(context, Run(context, *call));
  }

 private:
  static constexpr int kBias = 4;

  absl::Status ReadBounds(tensorflow::OpKernelConstruction* context) {
    std::string activation;
    TF_RETURN_IF_ERROR(context->GetAttr("activation", &activation));
    if (activation != "None") bounds_.least = 0;
    if (activation == "Relu6") bounds_.most = 6;
    return absl::OkStatus();
  }

  // `memory` holds the bias, if its values are not floats.
  Epilogue EpilogueOf(tensorflow::OpKernelContext* context, std::vector<float>* memory) const {
    Epilogue epilogue = bounds_;
    if (!has_bias_) return epilogue;
    const auto bias = context->input(kBias).flat<T>();
    if constexpr (std::is_same_v<T, float>) {
      epilogue.bias = bias.data();
    } else {
      memory->resize(bias.size());
      for (int64_t i = 0; i < bias.size(); ++i) (*memory)[i] = static_cast<float>(bias(i));
      epilogue.bias = memory->data();
    }
    return epilogue;
  }

  // For plans that have no epilogue: one more pass over the outputs.
  void AddBias(const Epilogue& epilogue, int64_t channels, tensorflow::Tensor* outputs) const {
    if (!has_bias_) return;
    T* const values = outputs->flat<T>().data();
    for (int64_t row = 0; row < outputs->NumElements(); row += channels)
      for (int64_t i = 0; i < channels; ++i) {
        float value = static_cast<float>(values[row + i]) + epilogue.bias[i];
        value = value < epilogue.least ? epilogue.least : value;
        values[row + i] = T(value > epilogue.most ? epilogue.most : value);
      }
  }

  absl::Status Run(tensorflow::OpKernelContext* context, const ProductCall& call) {
    constexpr ProductInputs kInputs = InputsOf(kProduct);
    const auto& workers = *context->device()->tensorflow_cpu_worker_threads();
    std::atomic<bool> out_of_memory = false;
    try {
      if (kProduct == Product::kKernelGradient && TakeGradient(context)) return absl::OkStatus();
      const auto plan =
          plans_.Get(kProduct, call.convolution, context->input(kInputs.mask), workers.num_threads,
                     keeps_values_ ? PlansOfLastCalls::kMost : 1);
      tensorflow::Tensor result;
      const bool is_own = kProduct == Product::kKernelGradient && gradient_.Take(plan, &result);
      const bool is_list = kProduct == Product::kKernelGradient && as_list_;
      const tensorflow::TensorShape shape = is_list ? ListShape(*plan->plan) : call.result;
      if (!is_own)
        TF_RETURN_IF_ERROR(context->allocate_temp(tensorflow::DataTypeToEnum<T>::value, shape,
                                                  &result, context->output_alloc_attr(0)));
      const Parallel parallel = OnWorkers(workers, &out_of_memory);
      if constexpr (kProduct == Product::kForward) {
        std::vector<float> memory;
        const Epilogue epilogue = EpilogueOf(context, &memory);
        TF_RETURN_IF_ERROR(RunForward(plan, context, epilogue, parallel, &result));
        if (!plan->plan->HasEpilogue())
          AddBias(epilogue, call.convolution.sizes.out_channels, &result);
      } else if constexpr (kProduct == Product::kInputGradient) {
        TF_RETURN_IF_ERROR(RunInputGradient(plan, context, parallel, &result, &out_of_memory));
      } else {
        RunPlan(plan, context, {}, parallel, is_own, &result);
      }
      context->set_output(0, result);
      if (kProduct == Product::kKernelGradient && !out_of_memory) gradient_.Keep(plan, result);
    } catch (const std::bad_alloc&) {
      out_of_memory = true;
    }
    if (out_of_memory) return absl::ResourceExhaustedError("Out of memory in a sparse product.");
    return absl::OkStatus();
  }

  static tensorflow::TensorShape ListShape(const ConvPlan& plan) {
    return tensorflow::TensorShape({plan.ActiveWeights()});
  }

  static typename SharedValues::Tensors KernelAndMask(tensorflow::OpKernelContext* context) {
    return {context->input(InputsOf(kProduct).kernel), context->input(InputsOf(kProduct).mask)};
  }

  // How many values a pair of products shares, so that it reads a large kernel once.
  int64_t CountOfShared(const ConvPlan& plan, tensorflow::OpKernelContext* context) const {
    const bool is_large = context->input(InputsOf(kProduct).kernel).TotalBytes() >= kLargeKernel;
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
                                tensorflow::OpKernelContext* context, const Parallel& parallel,
                                tensorflow::Tensor* result, std::atomic<bool>* out_of_memory) {
    constexpr ProductInputs kInputs = InputsOf(kProduct);
    tensorflow::Tensor values;
    const bool has_values = CountOfShared(*plan->plan, context) > 0 &&
                            SharedValues::Take(shared_values_, KernelAndMask(context), &values);
    const float* shared = has_values ? values.flat<float>().data() : nullptr;
    const bool is_dense = context->input(kInputs.dense_weight_gradient).scalar<bool>()();
    if (!shared_gradient_.empty() && !is_dense && plan->plan->GainsByBoth())
      return RunBoth(plan, context, parallel, shared, result, out_of_memory);
    if (has_values) {
      plan->plan->RunShared(context->input(kInputs.first).flat<T>().data(), shared,
                            result->flat<T>().data(), {}, parallel);
    } else {
      RunPlan(plan, context, {}, parallel, false, result);
    }
    return absl::OkStatus();
  }

  // The kernel gradient, too: a later operation takes it.
  absl::Status RunBoth(const PlansOfLastCalls::Plan& plan, tensorflow::OpKernelContext* context,
                       const Parallel& parallel, const float* shared, tensorflow::Tensor* result,
                       std::atomic<bool>* out_of_memory) {
    const tensorflow::Tensor &inputs = context->input(0), &kernel = context->input(1),
                             &mask = context->input(2), &output_gradient = context->input(3);
    tensorflow::Tensor by_kernel;
    const bool is_own = gradient_.Take(plan, &by_kernel);
    if (!is_own)
      TF_RETURN_IF_ERROR(context->allocate_temp(tensorflow::DataTypeToEnum<T>::value,
                                                as_list_ ? ListShape(*plan->plan) : kernel.shape(),
                                                &by_kernel));
    plan->plan->RunBoth(
        {output_gradient.flat<T>().data(), kernel.flat<T>().data(), shared, inputs.flat<T>().data(),
         result->flat<T>().data(), by_kernel.flat<T>().data(), is_own, as_list_},
        parallel);
    if (*out_of_memory) return absl::OkStatus();  // the caller says it
    SharedValues::Put(shared_gradient_, {{inputs, mask, output_gradient}, by_kernel});
    gradient_.Keep(plan, by_kernel);
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
    const tensorflow::Tensor &first = context->input(InputsOf(kProduct).first),
                             &second = context->input(InputsOf(kProduct).second);
    T* const values_of_result = result->flat<T>().data();
    const bool keeps = keeps_values_ || plan->plan->GainsMostByKeptValues();
    if (keeps && plan->plan->KeptValues() > 0) {
      const auto values = plan->values.Get(*plan->plan, second, parallel);
      plan->plan->RunWithValues(first.data(), values->data(), values_of_result, epilogue, parallel);
      return;
    }
    if (has_bias_ && plan->plan->HasEpilogue()) {
      float* const values = ThreadMemory::Get(ThreadMemory::kValues, plan->plan->KeptValues());
      plan->plan->ReadValues(second.data(), values, parallel);
      plan->plan->RunWithValues(first.data(), values, values_of_result, epilogue, parallel);
      return;
    }
    if (kProduct == Product::kKernelGradient && as_list_) {
      plan->plan->RunToList(first.flat<T>().data(), second.flat<T>().data(), values_of_result,
                            parallel);
      return;
    }
    plan->plan->Run(first.flat<T>().data(), second.flat<T>().data(), values_of_result, parallel,
                    is_own);
  }

  Rules rules_;
  MaskStructure structure_;
  bool as_list_ = false;  // of the kernel gradient
  // Names of pairs of products, and of a product and a step; or none.
  std::string shared_values_, handed_values_, shared_gradient_;
  bool has_bias_ = false;
  Epilogue bounds_;            // without the bias
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

#define KERAS_SPARSE_REGISTER_ONE(TYPE, NAME, RULES, PRODUCT)                                  \
  REGISTER_KERNEL_BUILDER(Name(NAME).Device(tensorflow::DEVICE_CPU).TypeConstraint<TYPE>("T"), \
                          CpuProductKernel<RULES, TYPE, Product::PRODUCT>);
