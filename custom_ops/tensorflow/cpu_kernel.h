// How do the products run inside of TensorFlow? With the plan of the last step, on TensorFlow's
// threads.
//
// Only files of this folder may include this one.
#pragma once

#include <algorithm>
#include <atomic>
#include <memory>
#include <new>

#include "custom_ops/tensorflow/product_check.h"
#include "tensorflow/core/platform/mutex.h"
#include "tensorflow/core/util/work_sharder.h"

namespace keras_sparse {

// The plan of the last call, made anew when sizes or mask change. Any number of threads may ask at
// the same time.
class PlanOfLastCall {
 public:
  std::shared_ptr<const ConvPlan> Get(Product product, const ConvSizes& sizes, const bool* mask,
                                      int threads) {
    std::shared_ptr<const ConvPlan> plan;
    {
      tensorflow::mutex_lock lock(mutex_);
      plan = plan_;
    }
    if (plan != nullptr && plan->Matches(sizes, mask)) return plan;
    plan = MakeConvPlan(product, sizes, mask, threads);
    tensorflow::mutex_lock lock(mutex_);
    plan_ = plan;
    return plan;
  }

 private:
  tensorflow::mutex mutex_;
  std::shared_ptr<const ConvPlan> plan_;
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

template <class Rules>
class ProductKernel : public tensorflow::OpKernel {
 public:
  ProductKernel(tensorflow::OpKernelConstruction* context, Product product)
      : tensorflow::OpKernel(context), product_(product) {
    OP_REQUIRES_OK(context, rules_.Read(context));
  }

 protected:
  // output 0, of this shape <- the product of inputs `first` and `second`, which are those of
  // ConvPlan::Run.
  void Run(tensorflow::OpKernelContext* context, const ConvSizes& sizes, int mask, int first,
           int second, const tensorflow::TensorShape& shape) {
    tensorflow::Tensor* result = nullptr;
    OP_REQUIRES_OK(context, context->allocate_output(0, shape, &result));
    float* values = result->flat<float>().data();
    if (sizes.inputs() == 0 || sizes.weights() == 0 || sizes.outputs() == 0) {  // sums of nothing
      std::fill_n(values, result->NumElements(), 0.0f);
      return;
    }
    const char* why = WhyUnsupported(sizes);
    OP_REQUIRES(context, why == nullptr, UnsupportedSizes(why, sizes));
    OP_REQUIRES(context,
                Compute(context, sizes, context->input(mask).flat<bool>().data(),
                        Values(context, first), Values(context, second), values),
                absl::ResourceExhaustedError("Out of memory in a sparse product."));
  }

  Rules rules_;

 private:
  static const float* Values(tensorflow::OpKernelContext* context, int i) {
    return context->input(i).flat<float>().data();
  }

  // False if there is not enough memory.
  bool Compute(tensorflow::OpKernelContext* context, const ConvSizes& sizes, const bool* mask,
               const float* first, const float* second, float* result) {
    const auto& workers = *context->device()->tensorflow_cpu_worker_threads();
    std::atomic<bool> out_of_memory = false;
    try {
      const auto plan = plan_.Get(product_, sizes, mask, workers.num_threads);
      plan->Run(first, second, result, OnWorkers(workers, &out_of_memory));
    } catch (const std::bad_alloc&) {
      out_of_memory = true;
    }
    return !out_of_memory;
  }

  const Product product_;
  PlanOfLastCall plan_;
};

template <class Rules>
class ForwardKernel : public ProductKernel<Rules> {
 public:
  explicit ForwardKernel(tensorflow::OpKernelConstruction* context)
      : ProductKernel<Rules>(context, Product::kForward) {}

  void Compute(tensorflow::OpKernelContext* context) override {
    const auto call = CheckForward(this->rules_, context);
    OP_REQUIRES_OK(context, call.status());
    this->Run(context, call->sizes, 2, 0, 1, call->output);
  }
};

template <class Rules>
class InputGradientKernel : public ProductKernel<Rules> {
 public:
  explicit InputGradientKernel(tensorflow::OpKernelConstruction* context)
      : ProductKernel<Rules>(context, Product::kInputGradient) {}

  void Compute(tensorflow::OpKernelContext* context) override {
    const auto call = CheckInputGradient(this->rules_, context);
    OP_REQUIRES_OK(context, call.status());
    this->Run(context, call->sizes, 2, 3, 1, context->input(0).shape());
  }
};

template <class Rules>
class KernelGradientKernel : public ProductKernel<Rules> {
 public:
  explicit KernelGradientKernel(tensorflow::OpKernelConstruction* context)
      : ProductKernel<Rules>(context, Product::kKernelGradient) {}

  void Compute(tensorflow::OpKernelContext* context) override {
    const auto call = CheckKernelGradient(this->rules_, context);
    OP_REQUIRES_OK(context, call.status());
    this->Run(context, call->sizes, 1, 0, 2, context->input(1).shape());
  }
};

}  // namespace keras_sparse
