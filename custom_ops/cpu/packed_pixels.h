// Where the input pixels that a tile sees lie in the packed tile, so that every tap is one offset.
//
// Pixels of one phase of the input step lie in rows without gaps: the pixels that a tap sees are
// then tile_h x tile_w neighbours whatever the stride.
#pragma once

#include <cstdint>
#include <vector>

#include "custom_ops/cpu/kernels.h"
#include "custom_ops/cpu/lattice.h"

namespace keras_sparse {

struct PackedPixels {
  int32_t slots = 0, row_stride = 0;
  std::vector<int32_t> slot, dy, dx;  // filled slots, and their pixels relative to the tile's first
  std::vector<int32_t>
      tap_slot;  // by place in lattice.taps: the slot that the tile's first output pixel sees
};

PackedPixels PackPixels(const Lattice& lattice, int tile_h, int tile_w);

// The tables of tiles and pixels, without a list of weights. They point into `packed`.
LatticeTables TilesOf(Product product, const ConvSizes& sizes, const Lattice& lattice,
                      const PackedPixels& packed, int tile_h, int tile_w);

}  // namespace keras_sparse
