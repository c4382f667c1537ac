// The variables that a step changes: locked together, with memory that nobody else holds.
//
// Values that were read before keep what they were: a variable whose memory somebody else holds
// gets new memory first.
#pragma once

#include <algorithm>
#include <cstring>
#include <deque>
#include <vector>

#include "custom_ops/tensorflow/step_check.h"
#include "tensorflow/core/framework/op_kernel.h"
#include "tensorflow/core/framework/resource_mgr.h"
#include "tensorflow/core/framework/resource_var.h"

namespace keras_sparse {

class StepVariables {
 public:
  absl::Status Lock(tensorflow::OpKernelContext* context, const std::vector<NamedInput>& inputs) {
    std::vector<tensorflow::mutex*> in_order;
    for (const NamedInput& one : inputs) {
      variables_.emplace_back();
      TF_RETURN_IF_ERROR(Find(context, one, &variables_.back()));
      tensorflow::mutex* mutex = variables_.back()->mu();
      if (std::find(in_order.begin(), in_order.end(), mutex) != in_order.end())
        return absl::InvalidArgumentError(absl::StrCat(
            "`", one.name, "` must not be another variable of the step too. Received: ", one.name,
            "=", tensorflow::HandleFromInput(context, one.input).name()));
      in_order.push_back(mutex);
    }
    // every op that locks several takes the lower address first
    std::sort(in_order.begin(), in_order.end());
    for (tensorflow::mutex* mutex : in_order) locks_.emplace_back(*mutex);
    for (size_t i = 0; i < inputs.size(); ++i)
      TF_RETURN_IF_ERROR(Check(inputs[i].name, variables_[i].get()));
    return absl::OkStatus();
  }

  absl::Status Own(tensorflow::OpKernelContext* context) {
    for (const auto& variable : variables_) TF_RETURN_IF_ERROR(OwnMemory(context, variable.get()));
    return absl::OkStatus();
  }

  tensorflow::Tensor* value(int i) { return variables_[i]->tensor(); }
  float* data(int i) { return value(i)->flat<float>().data(); }

  std::vector<tensorflow::TensorShape> shapes() {
    std::vector<tensorflow::TensorShape> all;
    for (const auto& variable : variables_) all.push_back(variable->tensor()->shape());
    return all;
  }

 private:
  using Var = tensorflow::Var;

  static absl::Status Find(tensorflow::OpKernelContext* context, const NamedInput& one,
                           tensorflow::core::RefCountPtr<Var>* variable) {
    const auto& handle = tensorflow::HandleFromInput(context, one.input);
    const absl::Status found = tensorflow::LookupResource(context, handle, variable);
    if (!absl::IsNotFound(found)) return found;
    return absl::FailedPreconditionError(absl::StrCat("`", one.name,
                                                      "` must have a value. Received: ", one.name,
                                                      "=", handle.name(), ", which has none"));
  }

  static absl::Status Check(const char* name, Var* variable) {
    if (!variable->is_initialized)
      return absl::FailedPreconditionError(
          absl::StrCat("`", name, "` must have a value. Received: ", name, " without one"));
    if (variable->tensor()->dtype() != tensorflow::DT_FLOAT)
      return absl::InvalidArgumentError(
          absl::StrCat("`", name, "` must be float32. Received: ", name, " of dtype ",
                       tensorflow::DataTypeString(variable->tensor()->dtype())));
    return absl::OkStatus();
  }

  // A copy, if a tensor that was read shares the memory, or may: see copy_on_read_mode in
  // resource_var.h.
  static absl::Status OwnMemory(tensorflow::OpKernelContext* context, Var* variable) {
    tensorflow::Tensor* tensor = variable->tensor();
    if (tensor->RefCountIsOne() && !variable->copy_on_read_mode.load()) return absl::OkStatus();
    tensorflow::Tensor copy;
    TF_RETURN_IF_ERROR(context->allocate_temp(tensorflow::DT_FLOAT, tensor->shape(), &copy));
    const size_t bytes = tensor->NumElements() * sizeof(float);
    if (bytes > 0) std::memcpy(copy.flat<float>().data(), tensor->flat<float>().data(), bytes);
    *tensor = copy;
    return absl::OkStatus();
  }

  std::vector<tensorflow::core::RefCountPtr<Var>> variables_;  // outlive the locks
  std::deque<tensorflow::mutex_lock> locks_;
};

}  // namespace keras_sparse
