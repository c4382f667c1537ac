// The active weights, in the order in which the loops use them.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "custom_ops/cpu/kernels.h"
#include "custom_ops/cpu/lattice.h"
#include "custom_ops/cpu/packed_mask.h"
#include "custom_ops/cpu/packed_pixels.h"
#include "custom_ops/cpu/tiling.h"

namespace keras_sparse {

struct ActiveList {
  std::vector<int32_t> part_outputs;
  std::vector<int64_t> first_segment, first_active;
  std::vector<Segment> segments;
  std::vector<int32_t> offsets;  // bytes into the packed pixels
  int32_t longest_segment = 0;
  // The same weights in the order of the kernel, so that it is read from beginning to end.
  std::vector<int32_t> weight;  // index in the kernel
  std::vector<int32_t> place;   // index in offsets
};

// Plans with equal lists share one: a forward product's is often that of its kernel gradient.
// `transposed`: the kernel's output channels are what is summed over, as in the input gradient.
std::shared_ptr<const ActiveList> MakeActiveList(const PackedMask& mask, const ConvSizes& sizes,
                                                 bool transposed, const Lattice& lattice,
                                                 const PackedPixels& packed, const Tiling& tiling,
                                                 int lanes);

// How many weights each tap of the kernel has.
std::vector<int64_t> ActivePerTap(const PackedMask& mask, const ConvSizes& sizes);

}  // namespace keras_sparse
