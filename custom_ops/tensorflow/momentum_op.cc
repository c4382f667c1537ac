// The step of a masked weight in TensorFlow: an op that changes two variables, and its CPU kernel.
//
// Values that were read before keep what they were: a variable whose memory somebody else holds
// gets new memory first.
//
// With the attribute `takes_list`, which list_gradients.cc sets, the gradient may be a list of
// those of the active weights, in the mask's order. A dense one then has as many elements as the
// variable, in any shape. With `handed_values`, which hand_values.cc sets, a step by a list hands
// the active weights to the next forward product: shared_values.h says how.
#include <atomic>
#include <cstring>
#include <memory>
#include <new>
#include <optional>

#include "custom_ops/contract/masked_momentum.h"
#include "custom_ops/tensorflow/cpu_kernel.h"
#include "custom_ops/tensorflow/momentum_check.h"
#include "custom_ops/tensorflow/shape.h"
#include "tensorflow/core/framework/op.h"
#include "tensorflow/core/framework/resource_mgr.h"
#include "tensorflow/core/framework/resource_var.h"
#include "tensorflow/core/framework/shape_inference.h"

namespace keras_sparse {
namespace {

using tensorflow::OpKernelContext;
using tensorflow::Var;
using tensorflow::shape_inference::InferenceContext;
using tensorflow::shape_inference::ShapeHandle;

absl::Status StepShape(InferenceContext* c) {
  ShapeHandle shape = c->input(kMask), scalar;
  bool takes_list = false;
  TF_RETURN_IF_ERROR(c->GetAttr("takes_list", &takes_list));
  if (!takes_list) TF_RETURN_IF_ERROR(c->Merge(shape, c->input(kGradient), &shape));
  for (const int input : {kVar, kMomentumVar}) {
    const auto* variable = c->input_handle_shapes_and_types(input);
    if (variable != nullptr && !variable->empty())
      TF_RETURN_IF_ERROR(c->Merge(shape, variable->front().shape, &shape));
  }
  for (const int input : {kLearningRate, kMomentum})
    TF_RETURN_IF_ERROR(c->WithRank(c->input(input), 0, &scalar));
  return absl::OkStatus();
}

REGISTER_OP("KerasSparse>ApplyMaskedMomentum")
    .Input("var: resource")
    .Input("momentum_var: resource")
    .Input("mask: bool")
    .Input("gradient: float")
    .Input("learning_rate: float")
    .Input("momentum: float")
    .Attr("use_nesterov: bool = false")
    .Attr("takes_list: bool = false")
    .KERAS_SPARSE_HANDED_VALUES.SetIsStateful()
    .SetShapeFn(StepShape);

absl::Status CheckVariable(const char* name, Var* variable) {
  if (!variable->is_initialized)
    return absl::FailedPreconditionError(
        absl::StrCat("`", name, "` must have a value. Received: ", name, " without one"));
  if (variable->tensor()->dtype() != tensorflow::DT_FLOAT)
    return absl::InvalidArgumentError(
        absl::StrCat("`", name, "` must be float32. Received: ", name, " of dtype ",
                     tensorflow::DataTypeString(variable->tensor()->dtype())));
  return absl::OkStatus();
}

absl::Status Find(OpKernelContext* context, int input, const char* name,
                  tensorflow::core::RefCountPtr<Var>* variable) {
  const auto& handle = tensorflow::HandleFromInput(context, input);
  const absl::Status found = tensorflow::LookupResource(context, handle, variable);
  if (!absl::IsNotFound(found)) return found;
  return absl::FailedPreconditionError(absl::StrCat(
      "`", name, "` must have a value. Received: ", name, "=", handle.name(), ", which has none"));
}

// A copy, if a tensor that was read shares the memory, or may: see copy_on_read_mode in
// resource_var.h.
absl::Status OwnMemory(OpKernelContext* context, Var* variable) {
  tensorflow::Tensor* tensor = variable->tensor();
  if (tensor->RefCountIsOne() && !variable->copy_on_read_mode.load()) return absl::OkStatus();
  tensorflow::Tensor copy;
  TF_RETURN_IF_ERROR(context->allocate_temp(tensorflow::DT_FLOAT, tensor->shape(), &copy));
  const size_t bytes = tensor->NumElements() * sizeof(float);
  if (bytes > 0) std::memcpy(copy.flat<float>().data(), tensor->flat<float>().data(), bytes);
  *tensor = copy;
  return absl::OkStatus();
}

// Both variables, locked, with memory that nobody else holds.
class LockedVariables {
 public:
  absl::Status Lock(OpKernelContext* context) {
    TF_RETURN_IF_ERROR(Find(context, kVar, "var", &var_));
    TF_RETURN_IF_ERROR(Find(context, kMomentumVar, "momentum_var", &momentum_));
    if (var_.get() == momentum_.get())
      return absl::InvalidArgumentError(
          "`momentum_var` must not be `var` itself. Received: one variable for both");
    const bool in_order =
        var_->mu() < momentum_->mu();  // every op that locks several takes the lower address first
    first_.emplace(in_order ? *var_->mu() : *momentum_->mu());
    second_.emplace(in_order ? *momentum_->mu() : *var_->mu());
    TF_RETURN_IF_ERROR(CheckVariable("var", var_.get()));
    return CheckVariable("momentum_var", momentum_.get());
  }

  absl::Status Own(OpKernelContext* context) {
    TF_RETURN_IF_ERROR(OwnMemory(context, var_.get()));
    return OwnMemory(context, momentum_.get());
  }

  tensorflow::Tensor* var() { return var_->tensor(); }
  tensorflow::Tensor* momentum() { return momentum_->tensor(); }

 private:
  tensorflow::core::RefCountPtr<Var> var_, momentum_;  // outlive the locks
  std::optional<tensorflow::mutex_lock> first_, second_;
};

// Where the mask of the last call has its active weights. As in PlanOfLastCall, the mask's tensor
// is kept, so that one at the same address is the same mask.
class PlacesOfLastCall {
 public:
  std::shared_ptr<const ActivePlaces> Get(const tensorflow::Tensor& mask) {
    Kept kept;
    {
      tensorflow::mutex_lock lock(mutex_);
      kept = kept_;
    }
    const bool is_same_mask = kept.places != nullptr && HaveSameValues(kept.mask, mask);
    if (is_same_mask && kept.mask.data() == mask.data()) return kept.places;
    if (!is_same_mask) kept.places = MakeActivePlaces(mask.flat<bool>().data(), mask.NumElements());
    kept.mask = mask;
    tensorflow::mutex_lock lock(mutex_);
    kept_ = kept;
    return kept.places;
  }

 private:
  struct Kept {
    tensorflow::Tensor mask;
    std::shared_ptr<const ActivePlaces> places;
  };

  tensorflow::mutex mutex_;
  Kept kept_;
};

class ApplyMaskedMomentumKernel : public tensorflow::OpKernel {
 public:
  explicit ApplyMaskedMomentumKernel(tensorflow::OpKernelConstruction* context)
      : tensorflow::OpKernel(context) {
    OP_REQUIRES_OK(context, context->GetAttr("use_nesterov", &use_nesterov_));
    OP_REQUIRES_OK(context, context->GetAttr("takes_list", &takes_list_));
    OP_REQUIRES_OK(context, context->GetAttr("handed_values", &handed_values_));
  }

  ~ApplyMaskedMomentumKernel() override {
    if (!handed_values_.empty()) SharedValues::Forget(handed_values_);
  }

  void Compute(OpKernelContext* context) override {
    LockedVariables variables;
    OP_REQUIRES_OK(context, variables.Lock(context));
    OP_REQUIRES_OK(context, CheckMomentumStep(context, variables.var()->shape(),
                                              variables.momentum()->shape(), takes_list_));
    const tensorflow::Tensor &mask = context->input(kMask), &gradient = context->input(kGradient);
    const bool is_list = gradient.NumElements() != mask.NumElements();
    std::shared_ptr<const ActivePlaces> places;
    if (is_list) OP_REQUIRES_OK(context, PlacesOf(mask, gradient, &places));
    // What the last step handed over holds the weight's memory, if nobody has taken it.
    if (!handed_values_.empty()) SharedValues::Forget(handed_values_);
    OP_REQUIRES_OK(context, variables.Own(context));
    const MomentumStep step = {context->input(kLearningRate).scalar<float>()(),
                               context->input(kMomentum).scalar<float>()(), use_nesterov_};
    std::atomic<bool> out_of_memory = false;  // the loops take none
    const Parallel parallel =
        OnWorkers(*context->device()->tensorflow_cpu_worker_threads(), &out_of_memory);
    const bool* bits = mask.flat<bool>().data();
    const float* values = gradient.flat<float>().data();
    float *var = variables.var()->flat<float>().data(),
          *momentum = variables.momentum()->flat<float>().data();
    if (is_list) {
      tensorflow::Tensor handed;
      const bool hands = !handed_values_.empty() && variables.var()->TotalBytes() >= kLargeKernel;
      if (hands)
        OP_REQUIRES_OK(context,
                       context->allocate_temp(tensorflow::DT_FLOAT, {places->active()}, &handed));
      places->ApplyMaskedMomentum(step, bits, values, var, momentum,
                                  hands ? handed.flat<float>().data() : nullptr, parallel);
      if (hands) SharedValues::Put(handed_values_, {{*variables.var(), mask}, handed});
    } else {
      ApplyMaskedMomentum(step, mask.NumElements(), bits, values, var, momentum, parallel);
    }
  }

 private:
  absl::Status PlacesOf(const tensorflow::Tensor& mask, const tensorflow::Tensor& list,
                        std::shared_ptr<const ActivePlaces>* places) {
    try {
      *places = places_.Get(mask);
    } catch (const std::bad_alloc&) {
      return absl::ResourceExhaustedError("Out of memory in the step of a masked weight.");
    }
    if ((*places)->active() == list.NumElements()) return absl::OkStatus();
    return absl::InvalidArgumentError(absl::StrCat(
        "`gradient` must have a value for each weight, or for each of the ", (*places)->active(),
        " active ones: no mask may change while a step runs. Received: gradient.shape=",
        list.shape().DebugString()));
  }

  bool use_nesterov_ = false, takes_list_ = false;
  std::string handed_values_;  // the name of the pair of this step and a product, or none
  PlacesOfLastCall places_;
};

REGISTER_KERNEL_BUILDER(Name("KerasSparse>ApplyMaskedMomentum").Device(tensorflow::DEVICE_CPU),
                        ApplyMaskedMomentumKernel);

}  // namespace
}  // namespace keras_sparse
