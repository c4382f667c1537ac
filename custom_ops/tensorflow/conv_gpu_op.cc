// The kernels for GPUs of the ops of conv_op.cc.
#include "custom_ops/tensorflow/conv_rules.h"
#include "custom_ops/tensorflow/gpu_kernel.h"

namespace keras_sparse {
namespace {

KERAS_SPARSE_REGISTER_ON_GPU("KerasSparse>Conv2D", ConvRules, float)
KERAS_SPARSE_REGISTER_ON_GPU("KerasSparse>Conv2D", ConvRules, tensorflow::bfloat16)
KERAS_SPARSE_REGISTER_ON_GPU("KerasSparse>Conv2D", ConvRules, Eigen::half)

}  // namespace
}  // namespace keras_sparse
