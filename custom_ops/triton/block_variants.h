// The kernels of block_kernels.py in this library: compile_block_kernels.py makes the table when it
// is built.
#pragma once

#include <cstddef>

#include "custom_ops/triton/blocks.h"

namespace keras_sparse {

struct BlockVariant {
  const char* kernel;
  ElementType type;
  int block;
  int capability;  // of the GPUs that it is for: 80 or 90
  bool is_text;    // PTX, which the driver compiles for later GPUs
  const unsigned char* image;
  size_t bytes;
  int shared_memory;
  int warps;
  const char* parameters;  // 'p' for a pointer, 'i' for an int32; those behind the arguments of a
                           // launch are null
};

// A Tile of block_tiles.py.
struct BlockTile {
  const char* kernel;
  ElementType type;
  int block;
  int pixels;
  int at_once;
  int programs;
};

extern const BlockVariant kBlockVariants[];
extern const int kBlockVariantCount;
extern const BlockTile kBlockTiles[];
extern const int kBlockTileCount;

// Why there are none, as WhyNotInBlocks says it, or nullptr.
extern const char* const kWhyNoBlockVariants;

}  // namespace keras_sparse
