// The weights of active blocks, out of a dense kernel; and their gradients, into one.
#pragma once

#include <cstdint>
#include <vector>

#include "custom_ops/contract/element_type.h"
#include "custom_ops/cpu/active_blocks.h"

namespace keras_sparse {

// Where the weights of blocks lie.
struct BlockPlaces {
  const BlockList::Block* blocks;  // in the order of the kernel
  int64_t count;
  int32_t in, out;   // channels of a block
  int64_t row;       // weights from an input channel to the next
  bool transposed;   // values are by [output][input channel] of a block
  ElementType type;  // of gradients
  KernelType kernel_type;

  int32_t weights() const { return in * out; }
};

// values[place] = weights, of blocks [begin, end); 0 beyond the channels.
void ReadBlocks(const BlockPlaces& places, const void* kernel, int64_t begin, int64_t end,
                float* values);

// The same, out of the list of the active weights, in float32.
void ReadListedBlocks(const BlockPlaces& places, const std::vector<int32_t>& rows,
                      const float* list, int64_t begin, int64_t end, float* values);

// The list of the active weights of these blocks, out of a kernel in float32.
void ListBlocks(const BlockPlaces& places, const std::vector<int32_t>& rows, const float* kernel,
                int64_t begin, int64_t end, float* list);

// Gradients of blocks [begin, end) = the sums over the pieces of sums[piece][place].
void WriteBlocks(const BlockPlaces& places, const float* sums, int64_t pieces, int64_t begin,
                 int64_t end, void* gradient);

// Where the list of the active weights has each row of each block: [block][input channel], as many
// as `places.in`.
std::vector<int32_t> RowsInList(const BlockPlaces& places);

// As WriteBlocks does, into the list.
void WriteBlocksToList(const BlockPlaces& places, const std::vector<int32_t>& rows,
                       const float* sums, int64_t pieces, int64_t begin, int64_t end, void* list);

}  // namespace keras_sparse
