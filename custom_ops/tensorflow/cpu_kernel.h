// The products on a CPU inside of TensorFlow: with the plan of the last step, on TensorFlow's
// threads.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstring>
#include <memory>
#include <new>
#include <string>
#include <utility>
#include <vector>

#include "custom_ops/tensorflow/check.h"
#include "custom_ops/tensorflow/shared_values.h"
#include "tensorflow/core/platform/mutex.h"
#include "tensorflow/core/util/work_sharder.h"

namespace keras_sparse {

// The plan of the last call, made anew when sizes or mask change. Any number of threads may ask at
// the same time.
//
// The mask's tensor is kept beside its plan. TensorFlow changes no memory that two tensors share,
// so a mask at the same address is the same mask, and is not read. Another one is compared.
class PlanOfLastCall {
 public:
  std::shared_ptr<const ConvPlan> Get(Product product, const Convolution& convolution,
                                      const tensorflow::Tensor& mask, int threads) {
    Kept kept;
    {
      tensorflow::mutex_lock lock(mutex_);
      kept = kept_;
    }
    const bool fits = kept.plan != nullptr && kept.convolution.HasNumbersOf(convolution);
    if (fits && kept.mask.data() == mask.data()) return kept.plan;
    const bool* values = mask.flat<bool>().data();
    if (!fits || !kept.plan->HasMask(values))
      kept = {convolution, MakeConvPlan(product, convolution, values, threads), {}};
    kept.mask = mask;
    tensorflow::mutex_lock lock(mutex_);
    kept_ = kept;
    return kept.plan;
  }

 private:
  struct Kept {
    Convolution convolution = {};
    std::shared_ptr<const ConvPlan> plan;
    tensorflow::Tensor mask;
  };

  tensorflow::mutex mutex_;
  Kept kept_;
};

// The values of the active weights in the last call, for plans of few rows, which take longer to
// read them than to multiply them.
//
// When two calls in a row find the same values at the same address, nobody trains the kernel: its
// tensor is kept, too. From then on the same address means the same values, and the kernel is not
// read. An operation that changes a variable copies memory that somebody else holds, so the next
// change shows as another address.
class ValuesOfLastCall {
 public:
  using Values = std::shared_ptr<const std::vector<float>>;

  Values Get(const std::shared_ptr<const ConvPlan>& plan, const tensorflow::Tensor& kernel,
             const Parallel& parallel) {
    Kept kept;
    {
      tensorflow::mutex_lock lock(mutex_);
      kept = kept_;
    }
    const bool same_plan = kept.plan == plan;
    if (same_plan && kept.kernel.data() == kernel.data()) return kept.values;
    const auto values = std::make_shared<std::vector<float>>(plan->KeptValues());
    plan->ReadValues(kernel.flat<float>().data(), values->data(), parallel);
    const bool unchanged =
        same_plan && kept.address == kernel.data() &&
        std::memcmp(values->data(), kept.values->data(), values->size() * sizeof(float)) == 0;
    kept = {plan, values, kernel.data(), unchanged ? kernel : tensorflow::Tensor()};
    tensorflow::mutex_lock lock(mutex_);
    kept_ = kept;
    return values;
  }

 private:
  struct Kept {
    std::shared_ptr<const ConvPlan> plan;
    Values values;
    const void* address = nullptr;
    tensorflow::Tensor kernel;  // or none
  };

  tensorflow::mutex mutex_;
  Kept kept_;
};

// The kernel gradient of the last call. When nobody else holds it any more, the next call writes
// the gradients of active weights over those of the last one: the zeros between them are there.
class GradientOfLastCall {
 public:
  // True, and the tensor, if this plan wrote it and it is free.
  bool Take(const std::shared_ptr<const ConvPlan>& plan, tensorflow::Tensor* gradient) {
    tensorflow::mutex_lock lock(mutex_);
    if (plan_ != plan || !gradient_.RefCountIsOne()) return false;
    *gradient = std::move(gradient_);
    plan_ = nullptr;
    return true;
  }

  void Keep(const std::shared_ptr<const ConvPlan>& plan, const tensorflow::Tensor& gradient) {
    tensorflow::mutex_lock lock(mutex_);
    plan_ = plan;
    gradient_ = gradient;
  }

 private:
  tensorflow::mutex mutex_;
  std::shared_ptr<const ConvPlan> plan_;
  tensorflow::Tensor gradient_;
};

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
    if (kProduct != Product::kKernelGradient)
      OP_REQUIRES_OK(context, context->GetAttr("shared_values", &shared_values_));
  }

  ~CpuProductKernel() override {
    if (!shared_values_.empty()) SharedValues::Forget(shared_values_);
  }

  void Compute(tensorflow::OpKernelContext* context) override {
    auto call = CheckProduct(kProduct, rules_, context);
    OP_REQUIRES_OK(context, call.status());
    call->convolution.type = TypeOf<T>();
    call->convolution.structure = structure_;
    if (call->convolution.IsEmpty()) {
      tensorflow::Tensor* zeros = nullptr;
      OP_REQUIRES_OK(context, context->allocate_output(0, call->result, &zeros));
      std::fill_n(zeros->flat<T>().data(), zeros->NumElements(), T(0));
      return;
    }
    const char* why = WhyNotOnCpu(call->convolution);
    OP_REQUIRES(context, why == nullptr, Unsupported(why, call->convolution));
    OP_REQUIRES_OK(context, Run(context, *call));
  }

 private:
  absl::Status Run(tensorflow::OpKernelContext* context, const ProductCall& call) {
    constexpr ProductInputs kInputs = InputsOf(kProduct);
    const auto& workers = *context->device()->tensorflow_cpu_worker_threads();
    std::atomic<bool> out_of_memory = false;
    try {
      const auto plan =
          plan_.Get(kProduct, call.convolution, context->input(kInputs.mask), workers.num_threads);
      tensorflow::Tensor result;
      const bool is_own = kProduct == Product::kKernelGradient && gradient_.Take(plan, &result);
      const tensorflow::TensorShape shape = as_list_ ? ListShape(*plan) : call.result;
      if (!is_own)
        TF_RETURN_IF_ERROR(context->allocate_temp(tensorflow::DataTypeToEnum<T>::value, shape,
                                                  &result, context->output_alloc_attr(0)));
      const Parallel parallel = OnWorkers(workers, &out_of_memory);
      bool is_done = false;
      TF_RETURN_IF_ERROR(RunSharing(plan, context, parallel, &result, &is_done));
      if (!is_done)
        RunPlan(plan, context->input(kInputs.first), context->input(kInputs.second), parallel,
                is_own, result.flat<T>().data());
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

  // As RunPlan, if a pair of products reads a large kernel once: shared_values.h.
  absl::Status RunSharing(const std::shared_ptr<const ConvPlan>& plan,
                          tensorflow::OpKernelContext* context, const Parallel& parallel,
                          tensorflow::Tensor* result, bool* is_done) {
    constexpr ProductInputs kInputs = InputsOf(kProduct);
    const tensorflow::Tensor &kernel = context->input(kInputs.second),
                             &mask = context->input(kInputs.mask);
    const bool is_large = kernel.TotalBytes() >= kLargeKernel;
    const int64_t count = shared_values_.empty() || !is_large ? 0 : plan->SharedValues();
    if (count == 0) return absl::OkStatus();
    const T* first = context->input(kInputs.first).flat<T>().data();
    T* const outputs = result->flat<T>().data();
    tensorflow::Tensor values;
    if (kProduct == Product::kForward) {
      TF_RETURN_IF_ERROR(context->allocate_temp(tensorflow::DT_FLOAT, {count}, &values));
      plan->RunAndShare(first, kernel.flat<T>().data(), outputs, values.flat<float>().data(),
                        parallel);
      SharedValues::Put(shared_values_, {kernel, mask, values});
      *is_done = true;
    } else if (SharedValues::Take(shared_values_, kernel, mask, &values)) {
      plan->RunShared(first, values.flat<float>().data(), outputs, parallel);
      *is_done = true;
    }
    return absl::OkStatus();
  }

  void RunPlan(const std::shared_ptr<const ConvPlan>& plan, const tensorflow::Tensor& first,
               const tensorflow::Tensor& second, const Parallel& parallel, bool is_own, T* result) {
    if constexpr (std::is_same_v<T, float>) {
      if (plan->KeptValues() > 0) {
        const auto values = values_.Get(plan, second, parallel);
        plan->RunWithValues(first.flat<T>().data(), values->data(), result, parallel);
        return;
      }
    }
    if (as_list_) {
      plan->RunToList(first.flat<T>().data(), second.flat<T>().data(), result, parallel);
      return;
    }
    plan->Run(first.flat<T>().data(), second.flat<T>().data(), result, parallel, is_own);
  }

  Rules rules_;
  MaskStructure structure_;
  bool as_list_ = false;       // of a kernel gradient alone
  std::string shared_values_;  // the name of a pair of products, or none
  PlanOfLastCall plan_;
  ValuesOfLastCall values_;
  GradientOfLastCall gradient_;  // of a kernel gradient alone
};

}  // namespace keras_sparse

// The three kernels of a product for a type.
#define KERAS_SPARSE_REGISTER_ON_CPU(TYPE, TYPE_NAME, NAME, RULES)                             \
  REGISTER_KERNEL_BUILDER(Name(NAME).Device(tensorflow::DEVICE_CPU).TypeConstraint<TYPE>("T"), \
                          CpuProductKernel<RULES, TYPE, Product::kForward>);                   \
  REGISTER_KERNEL_BUILDER(                                                                     \
      Name(NAME "InputGradient").Device(tensorflow::DEVICE_CPU).TypeConstraint<TYPE>("T"),     \
      CpuProductKernel<RULES, TYPE, Product::kInputGradient>);                                 \
  REGISTER_KERNEL_BUILDER(                                                                     \
      Name(NAME "KernelGradient").Device(tensorflow::DEVICE_CPU).TypeConstraint<TYPE>("T"),    \
      CpuProductKernel<RULES, TYPE, Product::kKernelGradient>);
