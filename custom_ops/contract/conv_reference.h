// What is right: the obvious loops, in double precision. Every kernel is tested against them.
#pragma once

#include <vector>

#include "custom_ops/contract/product.h"

namespace keras_sparse::reference {

// Calls use(index in inputs, index in kernel, index in outputs) for every multiplication of the
// dense convolution.
template <class Use>
void ForEachMultiplication(const Convolution& convolution, Use use) {
  const ConvSizes& s = convolution.sizes;
  for (int64_t n = 0; n < s.batch; ++n)
    for (int64_t oy = 0; oy < s.out_height; ++oy)
      for (int64_t ox = 0; ox < s.out_width; ++ox)
        for (int64_t ky = 0; ky < s.kernel_height; ++ky)
          for (int64_t kx = 0; kx < s.kernel_width; ++kx) {
            const int64_t iy = oy * s.stride_height + ky * convolution.dilation_height - s.pad_top,
                          ix = ox * s.stride_width + kx * convolution.dilation_width - s.pad_left;
            if (iy < 0 || iy >= s.in_height || ix < 0 || ix >= s.in_width) continue;
            const int64_t pixel = (n * s.in_height + iy) * s.in_width + ix;
            const int64_t out = (n * s.out_height + oy) * s.out_width + ox;
            for (int64_t i = 0; i < s.in_channels; ++i)
              for (int64_t o = 0; o < s.out_channels; ++o)
                use(pixel * s.in_channels + i,
                    ((ky * s.kernel_width + kx) * s.in_channels + i) * s.out_channels + o,
                    out * s.out_channels + o);
          }
}

// `first` and `second` as in ConvPlan::Run.
inline std::vector<double> Compute(Product product, const Convolution& convolution,
                                   const bool* mask, const float* first, const float* second) {
  std::vector<double> result(ResultSize(product, convolution.sizes));
  ForEachMultiplication(convolution, [&](int64_t in, int64_t weight, int64_t out) {
    if (!mask[weight]) return;
    if (product == Product::kForward) result[out] += double(first[in]) * second[weight];
    if (product == Product::kInputGradient) result[in] += double(first[out]) * second[weight];
    if (product == Product::kKernelGradient) result[weight] += double(first[in]) * second[out];
  });
  return result;
}

}  // namespace keras_sparse::reference
