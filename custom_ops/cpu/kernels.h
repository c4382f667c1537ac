// What the inner loops need to know: tables of plain numbers, made once per mask, and pointers.
//
// One lane of a vector is one tile of output pixels; kLanes tiles, a group, are computed at once,
// for all output channels:
//   for each chunk of input channels:
//     pack: the input pixels that the tiles see, [channel of the chunk][slot][lane]; zeros outside
//     of the image
//     for each output channel: for each active weight: tile of sums += weight * packed tile
// A weight's tap and channel are one offset into the packed pixels, so a sum never sees borders,
// strides or channels.
#pragma once

#include <cstdint>

#include "custom_ops/contract/element_type.h"
#include "custom_ops/contract/epilogue.h"

namespace keras_sparse {

// Active weights of one output channel within a chunk of input channels.
struct Segment {
  int32_t output;
  int32_t count;
};

// The tile shapes, height and width, that loops are compiled for: up to 16 sums stay in 32
// registers, 12 in 16.
// clang-format off
#define KS_FOR_TILES(DO)                                                      \
  DO(1, 1) DO(1, 2) DO(1, 4) DO(1, 7) DO(1, 8) DO(1, 12) DO(1, 16)            \
  DO(2, 1) DO(2, 2) DO(2, 4) DO(2, 6) DO(2, 7) DO(2, 8)                       \
  DO(3, 1) DO(3, 2) DO(3, 4)                                                  \
  DO(4, 1) DO(4, 2) DO(4, 3) DO(4, 4)
// clang-format on

struct LatticeTables {
  // Output pixel of tile row r in tile ty: out_y0 + (ty * tile_h + r) * out_step_y, if ty * tile_h
  // + r < grid_h.
  int32_t tile_h, tile_w, tiles_y, tiles_x, grid_h, grid_w;
  int64_t tiles;  // of all images
  int32_t out_h, out_w, out_y0, out_x0, out_step_y, out_step_x;
  int64_t out_channels;

  // The pixel in slot[i] of the packed tile ty, tx is input pixel (ty * tile_h * in_step_y + dy[i],
  // ... + dx[i]).
  int32_t in_h, in_w, in_step_y, in_step_x;
  int64_t in_channels;
  int32_t slots, pixels;  // slots that a channel takes, and how many of them are filled
  const int32_t *slot, *dy, *dx;
  int32_t row_stride;  // slots from one row of a tile to the next

  // Active weights by [part of the output channels][chunk of input channels]; the first chunk names
  // every output.
  int32_t chunk_channels, chunks, parts;
  const int32_t* part_outputs;   // parts + 1: first output channel of each part, multiples of 16
  const int64_t* first_segment;  // parts * chunks + 1
  const int64_t* first_active;   // parts * chunks + 1
  const Segment* segments;
  const int32_t* offsets;  // bytes from the beginning of the packed pixels, one per active weight
  int32_t longest_segment;
};

// What one thread computes at a time: a range of groups of tiles, for one part of the output
// channels.
struct WorkItem {
  int64_t first_group, end_group;
  int32_t part;
  float* buffer;  // BufferFloats, aligned to 64 bytes
  Epilogue epilogue;
};

struct BlockTables;  // block_tables.h

// The loops for masks of blocks: as those of Loops, in the order of [active block][summed][output].
struct BlockLoops {
  void (*multiply)(const BlockTables& tables, const void* inputs, const float* weights,
                   void* outputs, WorkItem work);
  void (*gradient)(const BlockTables& tables, const void* inputs, const void* output_gradient,
                   float* sums, WorkItem work);
  void (*both_gradients)(const BlockTables& tables, const void* output_gradient,
                         const float* weights, const void* inputs, void* input_gradient,
                         float* sums, WorkItem work);
  int64_t (*buffer_floats)(const BlockTables& tables, int32_t part);
  int32_t slot_floats;     // from one slot of packed pixels to the next
  int32_t channel_floats;  // that each slot of a channel takes
  int32_t most_pixels;     // that are computed at once, of a row and for 4 output channels
  bool in_pairs;           // tiles must have an even width
};

// For inputs and outputs of one type of elements. Weights and sums are floats.
struct Loops {
  // outputs = sums of weights (in the order of `offsets`) times inputs; then the epilogue
  void (*multiply)(const LatticeTables& tables, const void* inputs, const float* weights,
                   void* outputs, WorkItem work);
  // sums[i] = sum over the pixels of this work of input times output gradient, i in the order of
  // `offsets`; only the weights of work.part; zero before. `lane_sums`: lanes zeros per active
  // weight of the part, or null: reduced at once.
  void (*gradient)(const LatticeTables& tables, const void* inputs, const void* output_gradient,
                   float* sums, float* lane_sums, WorkItem work);
  // Both gradients of a convolution: `multiply` of the output gradient gives the input gradient,
  // and `gradient` of the same packed pixels and of the forward product's `inputs` the weights'.
  void (*both_gradients)(const LatticeTables& tables, const void* output_gradient,
                         const float* weights, const void* inputs, void* input_gradient,
                         float* sums, float* lane_sums, WorkItem work);
  BlockLoops blocks;
};

struct Kernels {
  const char* name;
  int lanes;
  int max_tile;  // sums that fit the registers
  int64_t (*buffer_floats)(const LatticeTables& tables, int32_t part);
  Loops loops[kElementTypes];  // by ElementType
  // For blocks of 4 x 4 in bfloat16 with 5 or more to an output block; null: as for all blocks.
  const BlockLoops* matrices;
  const char* vectors;  // the name of the kernels that have the other loops
};

const Kernels* PortableKernels();
const Kernels* Avx2Kernels();
const Kernels* Avx512Kernels();
const BlockLoops* AmxBlockLoops();  // null: the processor, Linux or the compiler has no AMX
const Kernels* AmxKernels();        // null where AmxBlockLoops() is

}  // namespace keras_sparse
