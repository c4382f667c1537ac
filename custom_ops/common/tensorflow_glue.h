// How does a kernel run inside of TensorFlow? With the plan of the last step, on TensorFlow's threads.
//
// Only files named *_op.cc include this one.
#pragma once

#include <atomic>
#include <memory>
#include <new>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "custom_ops/sparse_conv2d/sparse_conv2d.h"
#include "tensorflow/core/framework/op_kernel.h"
#include "tensorflow/core/framework/tensor_shape.h"
#include "tensorflow/core/platform/mutex.h"
#include "tensorflow/core/util/work_sharder.h"

namespace keras_sparse {

// The kernels count in 32 bits, and sums of a few sizes below this one fit 64.
constexpr int64_t kMaxSize = (int64_t{1} << 31) - 1;

// "`argument` must ... Received: argument.shape=[...]"
inline absl::Status BadShape(const char* argument, const std::string& rule, const tensorflow::TensorShape& shape) {
  return absl::InvalidArgumentError(
      absl::StrCat("`", argument, "` must ", rule, ". Received: ", argument, ".shape=", shape.DebugString()));
}

inline absl::Status CheckRank(const char* argument, const tensorflow::TensorShape& shape, int rank, const char* axes) {
  if (shape.dims() != rank) return BadShape(argument, absl::StrCat("have the shape ", axes), shape);
  for (int axis = 0; axis < rank; ++axis)
    if (shape.dim_size(axis) > kMaxSize) return BadShape(argument, "have sizes below 2^31", shape);
  return absl::OkStatus();
}

inline absl::Status CheckMask(const tensorflow::TensorShape& kernel, const tensorflow::TensorShape& mask) {
  if (kernel == mask) return absl::OkStatus();
  return BadShape("mask", absl::StrCat("have the shape of `kernel`, ", kernel.DebugString()), mask);
}

inline absl::Status CheckFlag(const tensorflow::TensorShape& flag) {
  if (flag.dims() == 0) return absl::OkStatus();
  return BadShape("dense_weight_gradient", "be a scalar", flag);
}

inline absl::Status CheckOutputGradient(const tensorflow::TensorShape& output,
                                        const tensorflow::TensorShape& gradient) {
  if (output == gradient) return absl::OkStatus();
  return BadShape("output_gradient", absl::StrCat("have the shape of the outputs, ", output.DebugString()), gradient);
}

// The plan of the last call, remade when sizes or mask change. Any number of threads may ask at the same time.
class PlanOfLastCall {
 public:
  std::shared_ptr<const ConvPlan> Get(Product product, const ConvSizes& sizes, const bool* mask, int threads) {
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

// Parts run on TensorFlow's worker threads. A part that finds no memory says so: no exception may cross those threads.
inline Parallel OnWorkers(const tensorflow::DeviceBase::CpuWorkerThreads& workers, std::atomic<bool>* out_of_memory) {
  Parallel parallel;
  parallel.threads = workers.num_threads;
  parallel.run = [&workers, out_of_memory](int64_t parts, int64_t cycles, const std::function<void(int64_t)>& part) {
    tensorflow::Shard(workers.num_threads, workers.workers, parts, cycles, [&](int64_t begin, int64_t end) {
      try {
        for (int64_t i = begin; i < end; ++i) part(i);
      } catch (const std::bad_alloc&) {
        *out_of_memory = true;
      }
    });
  };
  return parallel;
}

// An op that computes one of the three products on a CPU.
class ProductKernel : public tensorflow::OpKernel {
 public:
  ProductKernel(tensorflow::OpKernelConstruction* context, Product product)
      : tensorflow::OpKernel(context), product_(product) {}

 protected:
  // output 0, of this shape <- the product of `first` and `second`, which are those of ConvPlan::Run.
  void Run(tensorflow::OpKernelContext* context, const ConvSizes& sizes, const tensorflow::Tensor& mask,
           const tensorflow::Tensor& first, const tensorflow::Tensor& second, const tensorflow::TensorShape& shape) {
    tensorflow::Tensor* result = nullptr;
    OP_REQUIRES_OK(context, context->allocate_output(0, shape, &result));
    float* values = result->flat<float>().data();
    if (sizes.inputs() == 0 || sizes.weights() == 0 || sizes.outputs() == 0) {  // sums of nothing
      std::fill_n(values, result->NumElements(), 0.0f);
      return;
    }
    const char* why = WhyUnsupported(sizes);
    OP_REQUIRES(context, why == nullptr, absl::InvalidArgumentError(why == nullptr ? "" : why));
    const auto& workers = *context->device()->tensorflow_cpu_worker_threads();
    std::atomic<bool> out_of_memory = false;
    try {
      const bool* bits = mask.flat<bool>().data();
      plan_.Get(product_, sizes, bits, workers.num_threads)
          ->Run(first.flat<float>().data(), second.flat<float>().data(), values, OnWorkers(workers, &out_of_memory));
    } catch (const std::bad_alloc&) {
      out_of_memory = true;
    }
    OP_REQUIRES(context, !out_of_memory, absl::ResourceExhaustedError("Out of memory in a sparse product."));
  }

 private:
  const Product product_;
  PlanOfLastCall plan_;
};

}  // namespace keras_sparse
