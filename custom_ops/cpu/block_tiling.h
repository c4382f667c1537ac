// The tile of output pixels for masks of blocks, and in how many parts the output channels are
// computed.
#pragma once

#include <cstdint>
#include <optional>

#include "custom_ops/cpu/lattice.h"

namespace keras_sparse {

struct BlockTiling {
  int32_t tile_h, tile_w;
  int32_t parts;         // of the output blocks, so that there is work for every thread
  int32_t strip_h;       // kernel gradient: rows whose pixels of a few channels fit the first cache
  int64_t chunk_blocks;  // kernel gradient: summed blocks whose pixels fit the second cache
};

// What the cost of one lattice depends on.
struct BlockLoad {
  Product product;
  int64_t batch, in_channels, out_channels;
  int32_t summed, outputs;        // channels of a block
  int64_t output_blocks, active;  // blocks
  int32_t most_pixels;            // of a row, at once
  int32_t channel_floats;         // of a slot
  bool in_pairs;                  // even widths only
};

// None where the inputs of the smallest tile are too many to be packed at once.
std::optional<BlockTiling> ChooseBlockTiling(const Lattice& lattice, const BlockLoad& load,
                                             int lanes, int threads);

}  // namespace keras_sparse
