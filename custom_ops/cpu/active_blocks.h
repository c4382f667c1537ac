// The active blocks of a mask that consists of whole ones, in the order in which the loops use
// them.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "custom_ops/cpu/block_tables.h"
#include "custom_ops/cpu/lattice.h"
#include "custom_ops/cpu/packed_mask.h"
#include "custom_ops/cpu/packed_pixels.h"

namespace keras_sparse {

// Which blocks of a kernel are active. Blocks are counted from channel 0; the last ones may reach
// beyond the channels.
struct BlockGrid {
  int32_t in, out;  // channels of a block
  int64_t taps, in_blocks, out_blocks;
  std::vector<bool> active;  // [tap][input block][output block]
  int64_t count;             // of active blocks

  bool Has(int64_t tap, int64_t in_block, int64_t out_block) const {
    return active[(tap * in_blocks + in_block) * out_blocks + out_block];
  }
};

// The blocks of the first size in KS_FOR_BLOCKS that the mask consists of. None where every size
// has a block that is active in part, or where blocks that reach beyond the channels would cost
// more than single weights.
std::optional<BlockGrid> FindBlocks(const PackedMask& mask, const ConvSizes& sizes);

struct BlockListSettings {
  bool transposed;         // sums over the output channels of the kernel, as in the input gradient
  int32_t parts;           // of the outputs
  int64_t chunk_blocks;    // of summed channels: segments of the first ones come first
  int64_t channel_floats;  // from a packed channel to the next
  int32_t slot_floats;     // from a packed slot to the next
};

struct BlockList {
  std::vector<int32_t> part_outputs;
  std::vector<int64_t> first_segment, first_active;
  std::vector<Segment> segments;
  std::vector<int32_t> offsets;
  // The same blocks in the order of the kernel.
  struct Block {
    int32_t weight;     // index of its first weight in the kernel
    int32_t place;      // in offsets
    int16_t ins, outs;  // channels that the kernel has of it
  };
  std::vector<Block> blocks;
};

BlockList MakeBlockList(const BlockGrid& grid, const ConvSizes& sizes, const Lattice& lattice,
                        const PackedPixels& packed, const BlockListSettings& settings);

}  // namespace keras_sparse
