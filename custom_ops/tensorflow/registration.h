// Registers kernels and passes over graphs with TensorFlow, unless another copy of this library
// did.
//
// A process may load the library of several exported models, or one beside that of keras_sparse.
// TensorFlow ends a process that registers an operation for XLA twice, and refuses to run one that
// has two kernels. So a second copy registers nothing; the first one computes for all.
#pragma once

#include "tensorflow/core/common_runtime/optimization_registry.h"
#include "tensorflow/core/framework/op_kernel.h"

namespace keras_sparse {

bool IsFirstCopy();

}  // namespace keras_sparse

#define KS_UNIQUE_NAME_OF(COUNTER) keras_sparse_registered_##COUNTER
#define KS_UNIQUE_NAME(COUNTER) KS_UNIQUE_NAME_OF(COUNTER)
#define KS_AT_START(...)                                                \
  [[maybe_unused]] static const bool KS_UNIQUE_NAME(__COUNTER__) = [] { \
    if (::keras_sparse::IsFirstCopy()) {                                \
      __VA_ARGS__;                                                      \
    }                                                                   \
    return true;                                                        \
  }();

// As REGISTER_KERNEL_BUILDER, REGISTER_XLA_OP and REGISTER_OPTIMIZATION of TensorFlow.
#define KS_REGISTER_KERNEL(BUILDER, ...)                                     \
  KS_AT_START(::tensorflow::kernel_factory::OpKernelRegistrar(               \
      (::tensorflow::register_kernel::BUILDER).Build(), #__VA_ARGS__,        \
      [](::tensorflow::OpKernelConstruction* c) -> ::tensorflow::OpKernel* { \
        return new __VA_ARGS__(c);                                           \
      }))
#define KS_REGISTER_XLA_OP(BUILDER, ...)                                                          \
  KS_AT_START(::tensorflow::XlaOpRegistrar(::tensorflow::XlaOpRegistrationBuilder::BUILDER.Build( \
      [](::tensorflow::OpKernelConstruction* c) -> ::tensorflow::OpKernel* {                      \
        return new __VA_ARGS__(c);                                                                \
      })))
#define KS_REGISTER_PASS(GROUPING, PHASE, PASS)                                      \
  KS_AT_START(::tensorflow::optimization_registration::OptimizationPassRegistration( \
      GROUPING, PHASE, std::make_unique<PASS>(), #PASS))
