// Which tile of output pixels, how many input channels at a time, and in how many parts? The
// choices that set the speed.
#pragma once

#include <cstdint>

#include "custom_ops/cpu/lattice.h"

namespace keras_sparse {

struct Tiling {
  int32_t tile_h, tile_w;
  int32_t block_channels;  // a multiple of 16
  int32_t parts;           // of the output channels, so that there is work for every thread
};

// The work of one lattice, as far as its cost is concerned.
struct LatticeWork {
  int64_t batch, in_channels, out_channels;
  int64_t active;  // weights
};

Tiling ChooseTiling(const Lattice& lattice, const LatticeWork& work, int lanes, int max_tile,
                    int threads);

}  // namespace keras_sparse
