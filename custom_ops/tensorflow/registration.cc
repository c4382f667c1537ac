#include "custom_ops/tensorflow/registration.h"

#include "tensorflow/core/framework/op.h"

namespace keras_sparse {
namespace {

bool is_first_copy = true;

// Before all that this copy registers.
__attribute__((constructor(101))) void LookForAnotherCopy() {
  const tensorflow::OpRegistrationData* found = nullptr;
  is_first_copy = !tensorflow::OpRegistry::Global()->LookUp("KerasSparse>Conv2D", &found).ok();
}

}  // namespace

bool IsFirstCopy() { return is_first_copy; }

}  // namespace keras_sparse
