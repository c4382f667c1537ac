// A matrix product with a sparse kernel is a convolution with one tap, whose image is the batch.
//
// inputs [rows, in], kernel and mask [in, out], outputs [rows, out], all dense and contiguous. So
// one set of kernels serves both: a row is a pixel.
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

// The other way round, a 1x1 convolution is a matrix product: its pixels in one row, so that tiles
// need not end with the images' rows.
inline ConvSizes InOneRow(ConvSizes s) {
  if (s.kernel_height * s.kernel_width * s.stride_height * s.stride_width != 1) return s;
  if (s.pad_top != 0 || s.pad_left != 0 || s.out_height != s.in_height || s.out_width != s.in_width)
    return s;
  s.in_width = s.out_width = s.batch * s.in_height * s.in_width;
  s.batch = s.in_height = s.out_height = 1;
  return s;
}

}  // namespace keras_sparse
