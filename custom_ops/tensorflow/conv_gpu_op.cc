// The kernels for GPUs of the ops of conv_op.cc.
#include "custom_ops/tensorflow/conv_rules.h"
#include "custom_ops/tensorflow/gpu_kernel.h"

namespace keras_sparse {
namespace {

KS_TENSORFLOW_TYPES(KERAS_SPARSE_REGISTER_ON_GPU, "KerasSparse>Conv2D", ConvRules)

}  // namespace
}  // namespace keras_sparse
