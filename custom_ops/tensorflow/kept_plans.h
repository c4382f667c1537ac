// What an op keeps from call to call on a CPU: plans, values of active weights, a gradient's
// memory.
#pragma once

#include <algorithm>
#include <array>
#include <cstring>
#include <memory>
#include <utility>
#include <vector>

#include "custom_ops/tensorflow/check.h"
#include "tensorflow/core/platform/mutex.h"

namespace keras_sparse {

// The values of the active weights in the last call of a plan. They take time to read; for few
// rows, more than to multiply.
//
// When two calls in a row find the same values at the same address, nobody trains the kernel: its
// tensor is kept, too. From then on the same address means the same values, and the kernel is not
// read. An operation that changes a variable copies memory that somebody else holds, so the next
// change shows as another address.
class ValuesOfLastCall {
 public:
  using Values = std::shared_ptr<const std::vector<float>>;

  Values Get(const ConvPlan& plan, const tensorflow::Tensor& kernel, const Parallel& parallel) {
    Kept kept;
    {
      tensorflow::mutex_lock lock(mutex_);
      kept = kept_;
    }
    if (kept.kernel.data() != nullptr && kept.kernel.data() == kernel.data()) return kept.values;
    const auto values = std::make_shared<std::vector<float>>(plan.KeptValues());
    plan.ReadValues(kernel.data(), values->data(), parallel);
    const bool unchanged =
        kept.address == kernel.data() &&
        std::memcmp(values->data(), kept.values->data(), values->size() * sizeof(float)) == 0;
    kept = {values, kernel.data(), unchanged ? kernel : tensorflow::Tensor()};
    tensorflow::mutex_lock lock(mutex_);
    kept_ = kept;
    return values;
  }

 private:
  struct Kept {
    Values values;
    const void* address = nullptr;
    tensorflow::Tensor kernel;  // or none
  };

  tensorflow::mutex mutex_;
  Kept kept_;
};

// A plan, and the values that it read last.
struct PlanWithValues {
  Convolution convolution;
  std::unique_ptr<const ConvPlan> plan;
  ValuesOfLastCall values;
};

// Whether a mask has the values of the one that is kept: where it is at another address, both are
// read, at memory speed.
inline bool HaveSameValues(const tensorflow::Tensor& kept, const tensorflow::Tensor& mask) {
  return kept.TotalBytes() == mask.TotalBytes() &&
         (kept.data() == mask.data() ||
          std::memcmp(kept.data(), mask.data(), mask.TotalBytes()) == 0);
}

// The plans of the last calls, made anew when sizes or mask change. Any number of threads may ask
// at the same time.
//
// The mask's tensor is kept beside its plans. TensorFlow changes no memory that two tensors share,
// so a mask at the same address is the same mask, and is not read. Another one is compared.
class PlansOfLastCalls {
 public:
  using Plan = std::shared_ptr<PlanWithValues>;

  // `most`: how many sizes, such as those of batches, have their plans at a time; at most kMost.
  Plan Get(Product product, const Convolution& convolution, const tensorflow::Tensor& mask,
           int threads, int most) {
    Kept kept;
    {
      tensorflow::mutex_lock lock(mutex_);
      kept = kept_;
    }
    const bool is_same_mask = kept.mask.data() == mask.data();
    if (!AreFor(kept, convolution, mask)) kept.plans = {};
    auto found = std::find_if(kept.plans.begin(), kept.plans.end(), [&](const Plan& each) {
      return each != nullptr && each->convolution.HasNumbersOf(convolution);
    });
    if (found == kept.plans.begin() && is_same_mask) return *found;
    Plan plan;
    if (found == kept.plans.end()) {
      plan = std::make_shared<PlanWithValues>();
      plan->convolution = convolution;
      plan->plan = MakeConvPlan(product, convolution, mask.flat<bool>().data(), threads);
      found = kept.plans.begin() + most - 1;  // the one that was asked for longest ago
    } else {
      plan = *found;
    }
    std::move_backward(kept.plans.begin(), found, found + 1);
    kept.plans[0] = plan;
    kept.mask = mask;
    tensorflow::mutex_lock lock(mutex_);
    kept_ = kept;
    return plan;
  }

  static constexpr int kMost = 4;

 private:
  struct Kept {
    std::array<Plan, kMost> plans;  // the last one first
    tensorflow::Tensor mask;
  };

  static bool AreFor(const Kept& kept, const Convolution& convolution,
                     const tensorflow::Tensor& mask) {
    const Plan& last = kept.plans[0];
    return last != nullptr && last->convolution.sizes.weights() == convolution.sizes.weights() &&
           HaveSameValues(kept.mask, mask);
  }

  tensorflow::mutex mutex_;
  Kept kept_;
};

// The kernel gradient of the last call. When nobody else holds it any more, the next call writes
// the gradients of active weights over those of the last one: the zeros between them are there.
class GradientOfLastCall {
 public:
  // True, and the tensor, if this plan wrote it and it is free.
  bool Take(const PlansOfLastCalls::Plan& plan, tensorflow::Tensor* gradient) {
    tensorflow::mutex_lock lock(mutex_);
    if (plan_ != plan || !gradient_.RefCountIsOne()) return false;
    *gradient = std::move(gradient_);
    plan_ = nullptr;
    return true;
  }

  void Keep(const PlansOfLastCalls::Plan& plan, const tensorflow::Tensor& gradient) {
    tensorflow::mutex_lock lock(mutex_);
    plan_ = plan;
    gradient_ = gradient;
  }

 private:
  tensorflow::mutex mutex_;
  PlansOfLastCalls::Plan plan_;
  tensorflow::Tensor gradient_;
};

}  // namespace keras_sparse
