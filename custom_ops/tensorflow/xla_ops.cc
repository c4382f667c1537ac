// All that XLA compiles in the place of our ops. XLA's headers take half a minute to compile, so
// one file includes them.
#include "custom_ops/tensorflow/conv_xla_op.h"
#include "custom_ops/tensorflow/matmul_xla_op.h"
#include "custom_ops/tensorflow/normalization_xla_op.h"
#include "custom_ops/tensorflow/step_xla_op.h"
