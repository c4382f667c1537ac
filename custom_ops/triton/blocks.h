// What does a GPU compute by blocks of weights, and how is it called? Free of any framework, and of
// CUDA's headers.
//
// A block is `block` input channels by `block` output channels of one tap. It is computed if any of
// its weights is active, so masks made of blocks (block_shape in keras_sparse) are fast, and every
// mask is right: missing weights count as 0 and are never read. Layouts as in sparse_conv2d.h; all
// pointers are on the device.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "custom_ops/contract/product.h"

namespace keras_sparse {

enum class ElementType {
  kFloat32,
  kBFloat16,
  kFloat16
};  // of inputs, kernel, outputs; float32 is computed in TF32

struct BlockCall {
  Product product;
  ConvSizes sizes;
  ElementType type;
  int block;
};

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

// An explanation for a person if there is no kernel for such a call, else nullptr.
const char* WhyNotInBlocks(const BlockCall& call);

int64_t BlockWorkspace(const BlockCall& call);

// What has to run, one after the other. Depends on sizes alone, never on the mask.
std::vector<BlockLaunch> PlanBlockLaunches(const BlockCall& call, const BlockPointers& pointers);

// Runs it on a CUDA stream and returns at once: an empty string, or what went wrong.
std::string RunInBlocks(const BlockCall& call, const BlockPointers& pointers, void* stream);

}  // namespace keras_sparse
