// The kernels for GPUs of the ops of matmul_op.cc.
#include "custom_ops/tensorflow/gpu_kernel.h"
#include "custom_ops/tensorflow/matmul_rules.h"

namespace keras_sparse {
namespace {

KS_TENSORFLOW_TYPES(KERAS_SPARSE_REGISTER_ON_GPU, "KerasSparse>MatMul", MatMulRules)

}  // namespace
}  // namespace keras_sparse
