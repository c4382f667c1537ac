// What does a matrix product with a sparse kernel compute? A convolution with one tap, whose image
// is the batch.
//
// inputs [rows, in], kernel and mask [in, out], outputs [rows, out], all dense and contiguous. So
// one set of kernels, that of sparse_conv2d.h, serves both: a row is a pixel.
#pragma once

#include "custom_ops/contract/product.h"

namespace keras_sparse {

inline ConvSizes MatMulSizes(int64_t rows, int64_t in, int64_t out) {
  ConvSizes sizes = {};
  sizes.batch = sizes.in_height = sizes.out_height = 1;
  sizes.in_width = sizes.out_width = rows;
  sizes.kernel_height = sizes.kernel_width = 1;
  sizes.stride_height = sizes.stride_width = 1;
  sizes.in_channels = in;
  sizes.out_channels = out;
  return sizes;
}

}  // namespace keras_sparse
