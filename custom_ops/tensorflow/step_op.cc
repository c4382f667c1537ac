// The step of a masked weight in TensorFlow: ops that change variables, and their CPU kernels.
//
// With the attribute `takes_list`, which list_gradients.cc sets, the gradient may be a list of
// those of the active weights, in the mask's order. A dense one then has as many elements as the
// variable, in any shape. With `handed_values`, which hand_values.cc sets, a step by a list hands
// the active weights to the next forward product: shared_values.h says how.
#include <atomic>
#include <memory>
#include <new>

#include "custom_ops/tensorflow/kept_plans.h"
#include "custom_ops/tensorflow/registration.h"
#include "custom_ops/tensorflow/shape.h"
#include "custom_ops/tensorflow/shared_values.h"
#include "custom_ops/tensorflow/step_variables.h"
#include "custom_ops/tensorflow/workers.h"
#include "tensorflow/core/framework/op.h"
#include "tensorflow/core/framework/shape_inference.h"

namespace keras_sparse {
namespace {

using tensorflow::OpKernelConstruction;
using tensorflow::OpKernelContext;
using tensorflow::shape_inference::InferenceContext;
using tensorflow::shape_inference::ShapeHandle;

template <class Step>
absl::Status StepShape(InferenceContext* c) {
  ShapeHandle shape = c->input(kMask), scalar;
  bool takes_list = false;
  TF_RETURN_IF_ERROR(c->GetAttr("takes_list", &takes_list));
  if (!takes_list) TF_RETURN_IF_ERROR(c->Merge(shape, c->input(kGradient), &shape));
  for (const NamedInput& one : VariablesOf<Step>()) {
    const auto* variable = c->input_handle_shapes_and_types(one.input);
    if (variable != nullptr && !variable->empty())
      TF_RETURN_IF_ERROR(c->Merge(shape, variable->front().shape, &shape));
  }
  for (const NamedInput& one : ScalarsOf<Step>())
    TF_RETURN_IF_ERROR(c->WithRank(c->input(one.input), 0, &scalar));
  return absl::OkStatus();
}

REGISTER_OP(kMomentumOp)
    .Input("var: resource")
    .Input("momentum_var: resource")
    .Input("mask: bool")
    .Input("gradient: float")
    .Input("learning_rate: float")
    .Input("momentum: float")
    .Attr("use_nesterov: bool = false")
    .Attr("takes_list: bool = false")
    .KERAS_SPARSE_HANDED_VALUES.SetIsStateful()
    .SetShapeFn(StepShape<MomentumStep>);

REGISTER_OP(kAdamOp)
    .Input("var: resource")
    .Input("momentum_var: resource")
    .Input("mask: bool")
    .Input("gradient: float")
    .Input("velocity_var: resource")
    .Input("rate: float")
    .Input("one_minus_beta_1: float")
    .Input("one_minus_beta_2: float")
    .Input("epsilon: float")
    .Attr("takes_list: bool = false")
    .KERAS_SPARSE_HANDED_VALUES.SetIsStateful()
    .SetShapeFn(StepShape<AdamStep>);

// What a kernel is made with, and what a call reads.
class MomentumNumbers {
 public:
  explicit MomentumNumbers(OpKernelConstruction* context) {
    OP_REQUIRES_OK(context, context->GetAttr("use_nesterov", &use_nesterov_));
  }

  MomentumStep Of(OpKernelContext* context) const {
    return {context->input(kLearningRate).scalar<float>()(),
            context->input(kMomentum).scalar<float>()(), use_nesterov_};
  }

 private:
  bool use_nesterov_ = false;
};

class AdamNumbers {
 public:
  explicit AdamNumbers(OpKernelConstruction*) {}

  AdamStep Of(OpKernelContext* context) const {
    const auto number = [context](int input) { return context->input(input).scalar<float>()(); };
    return {number(kRate), number(kOneMinusBeta1), number(kOneMinusBeta2), number(kEpsilon)};
  }
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

template <class Step, class Numbers>
class ApplyMaskedStepKernel : public tensorflow::OpKernel {
 public:
  explicit ApplyMaskedStepKernel(OpKernelConstruction* context)
      : tensorflow::OpKernel(context), numbers_(context) {
    OP_REQUIRES_OK(context, context->GetAttr("takes_list", &takes_list_));
    OP_REQUIRES_OK(context, context->GetAttr("handed_values", &handed_values_));
  }

  ~ApplyMaskedStepKernel() override {
    if (!handed_values_.empty()) SharedValues::Forget(handed_values_);
  }

  void Compute(OpKernelContext* context) override {
    StepVariables variables;
    OP_REQUIRES_OK(context, variables.Lock(context, VariablesOf<Step>()));
    OP_REQUIRES_OK(context, CheckStep<Step>(context, variables.shapes(), takes_list_));
    const tensorflow::Tensor &mask = context->input(kMask), &gradient = context->input(kGradient);
    const bool is_list = gradient.NumElements() != mask.NumElements();
    std::shared_ptr<const ActivePlaces> places;
    if (is_list) OP_REQUIRES_OK(context, PlacesOf(mask, gradient, &places));
    // What the last step handed over holds the weight's memory, if nobody has taken it.
    if (!handed_values_.empty()) SharedValues::Forget(handed_values_);
    OP_REQUIRES_OK(context, variables.Own(context));
    const Step step = numbers_.Of(context);
    std::atomic<bool> out_of_memory = false;  // the loops take none
    const Parallel parallel =
        OnWorkers(*context->device()->tensorflow_cpu_worker_threads(), &out_of_memory);
    const bool* bits = mask.flat<bool>().data();
    const float* values = gradient.flat<float>().data();
    float* var = variables.data(kVar);
    const Moments moments = {variables.data(kMomentumVar), VelocityOf(&variables)};
    if (!is_list)
      return ApplyMaskedStep(step, mask.NumElements(), bits, values, var, moments, parallel);
    tensorflow::Tensor handed;
    const bool hands =
        !handed_values_.empty() && variables.value(kVar)->TotalBytes() >= kLargeKernel;
    if (hands)
      OP_REQUIRES_OK(context,
                     context->allocate_temp(tensorflow::DT_FLOAT, {places->active()}, &handed));
    places->ApplyMaskedStep(step, bits, values, var, moments,
                            hands ? handed.flat<float>().data() : nullptr, parallel);
    if (hands) SharedValues::Put(handed_values_, {{*variables.value(kVar), mask}, handed});
  }

 private:
  static float* VelocityOf(StepVariables* variables) {
    constexpr int kVelocity = 2;  // among Adam's variables
    return std::is_same_v<Step, AdamStep> ? variables->data(kVelocity) : nullptr;
  }

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

  Numbers numbers_;
  bool takes_list_ = false;
  std::string handed_values_;  // the name of the pair of this step and a product, or none
  PlacesOfLastCall places_;
};

using MomentumKernel = ApplyMaskedStepKernel<MomentumStep, MomentumNumbers>;
using AdamKernel = ApplyMaskedStepKernel<AdamStep, AdamNumbers>;
KS_REGISTER_KERNEL(Name(kMomentumOp).Device(tensorflow::DEVICE_CPU), MomentumKernel);
KS_REGISTER_KERNEL(Name(kAdamOp).Device(tensorflow::DEVICE_CPU), AdamKernel);

}  // namespace
}  // namespace keras_sparse
