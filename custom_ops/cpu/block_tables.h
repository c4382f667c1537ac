// What the loops over blocks of weights need to know: a block is a few input channels by a few
// output channels of one tap, all active.
//
// Lanes are tiles of output pixels, as in kernels.h. All input channels that the tiles see are
// packed at once. Then a few neighbouring pixels by the output channels of a block are sums in
// registers, over all input channels: a vector of inputs serves all output channels of its block,
// and no sum is stored before it is complete.
#pragma once

#include <cstdint>

#include "custom_ops/cpu/kernels.h"

namespace keras_sparse {

// Channels of a block: those that are summed over, and those of the outputs. The input gradient
// sums over the output channels of the kernel.
struct BlockSize {
  int32_t summed, outputs;
};

// The sizes that loops are compiled for. Blocks of 1 x 8 and 8 x 1 were no faster than their single
// weights: one of the three products has no reuse.
#define KS_FOR_BLOCKS(DO) DO(4, 4) DO(2, 4) DO(4, 2)

struct BlockTables {
  LatticeTables tile;  // tiles and pixels; it has no list of weights
  BlockSize block;
  int32_t summed_blocks, output_blocks;  // the last ones may reach beyond the channels
  int32_t strip_h;                       // rows of a tile whose kernel gradient is summed at once

  // Active blocks by [part of the output channels]. The product names every output block once; the
  // kernel gradient names one again for each chunk of input channels that stays in the cache.
  int32_t parts;
  const int32_t* part_outputs;   // parts + 1: first output block of each part
  const int64_t* first_segment;  // parts + 1
  const int64_t* first_active;   // parts + 1
  const Segment* segments;       // output block, number of active blocks
  const int32_t* offsets;        // bytes into the packed pixels, one per active block
};

}  // namespace keras_sparse
