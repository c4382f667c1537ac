// The choices that set the speed: the tile of output pixels, how many input channels at a time, and
// in how many parts.
#pragma once

#include <cstdint>

#include "custom_ops/cpu/lattice.h"

namespace keras_sparse {

struct Tiling {
  int32_t tile_h, tile_w;
  int32_t chunk_channels;  // a multiple of 16
  int32_t parts;           // of the output channels, so that there is work for every thread
};

// What the cost of one lattice depends on.
struct LatticeLoad {
  int64_t batch, in_channels, out_channels;
  int64_t active;  // weights
};

Tiling ChooseTiling(const Lattice& lattice, const LatticeLoad& load, int lanes, int max_tile,
                    int threads);

}  // namespace keras_sparse
