// The kernels for GPUs of the ops of matmul_op.cc.
#include "custom_ops/tensorflow/gpu_kernel.h"
#include "custom_ops/tensorflow/matmul_rules.h"

namespace keras_sparse {
namespace {

KERAS_SPARSE_REGISTER_ON_GPU("KerasSparse>MatMul", MatMulRules, float)
KERAS_SPARSE_REGISTER_ON_GPU("KerasSparse>MatMul", MatMulRules, tensorflow::bfloat16)
KERAS_SPARSE_REGISTER_ON_GPU("KerasSparse>MatMul", MatMulRules, Eigen::half)

}  // namespace
}  // namespace keras_sparse
