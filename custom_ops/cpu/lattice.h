// The input pixels that an output pixel sees: the same ones for all output pixels of a lattice,
// shifted.
//
// The forward product is one lattice. The input gradient of a convolution with stride is one for
// each phase of the stride: pixels y = phase, phase + stride, ... of the input gradient see the
// same taps.
#pragma once

#include <cstdint>
#include <vector>

#include "custom_ops/contract/product.h"

namespace keras_sparse {

// Output pixel i of the grid sees input pixel i * in_step + shift, by this tap of the kernel.
struct Tap {
  int32_t shift_y, shift_x;
  int32_t index;  // ky * kernel_width + kx
};

struct Lattice {
  int32_t grid_h, grid_w;
  int32_t out_y0, out_x0, out_step_y,
      out_step_x;  // output pixel i of the grid is pixel y0 + i * step of the image
  int32_t in_step_y, in_step_x;
  std::vector<Tap> taps;
};

std::vector<Lattice> MakeLattices(Product product, const Convolution& convolution);

}  // namespace keras_sparse
