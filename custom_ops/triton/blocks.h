// Sparse convolutions on a GPU by blocks of weights. Free of any framework, and of CUDA's headers.
//
// A block is `structure.block` input channels by as many output channels of one tap. It is computed
// if any of its weights is active, so masks made of blocks are fast, and every mask is right:
// missing weights count as 0 and are never read. Layouts as in contract/product.h; all pointers are
// on the device.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "custom_ops/contract/product.h"

namespace keras_sparse {

// `first`, `second`, `result` as in ConvPlan::Run. `workspace`: BlockWorkspace bytes, aligned to
// 256.
struct BlockPointers {
  const void* first;
  const void* second;
  const bool* mask;
  void* result;
  void* workspace;
};

// One run of a kernel of block_kernels.py: its arguments in order, pointers and int32 values.
struct BlockLaunch {
  const char* kernel;
  int64_t grid[3];
  std::vector<int64_t> arguments;
};

// Why there is no kernel: "`argument` must ...", by the names that the ops have for their
// arguments; nullptr if there is one.
const char* WhyNotInBlocks(const Convolution& convolution);

int64_t BlockWorkspace(Product product, const Convolution& convolution);

// What has to run, one after the other. Depends on sizes alone, never on the mask.
std::vector<BlockLaunch> PlanBlockLaunches(Product product, const Convolution& convolution,
                                           const BlockPointers& pointers);

// Runs it on a CUDA stream and returns at once: an empty string, or what went wrong.
std::string RunInBlocks(Product product, const Convolution& convolution,
                        const BlockPointers& pointers, void* stream);

}  // namespace keras_sparse
