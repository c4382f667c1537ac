// The kernels that make up a product, and what they hand to one another. Launches: 0 or a
// cudaError_t.
#pragma once

#include <cstdint>

#include "custom_ops/cuda/tiling.cuh"

namespace keras_sparse {

// An active weight: how many bytes its source pixel is from that of channel 0 and slot 0; and its
// value, or for the kernel gradient the bits of its index in the kernel.
struct Entry {
  int offset;
  int payload;
};
static_assert(sizeof(Entry) == sizeof(int2));

// A channel pair of a 3x3 kernel with any active weight. weights[y * 3 + x] is for the window's
// slot (y, x).
struct alignas(16) Pair {
  float weights[9];
  int offset;  // as in Entry
  int index;   // of its first weight in the kernel
  int unused;
};
static_assert(sizeof(Pair) == 3 * sizeof(float4));

constexpr int kPairTaps = 9;

// The workspace. Lists begin at multiples of tiling.room(), so that no sum over all lists has to be
// known before they are filled: room for a dense kernel is needed anyway, and only what is used
// costs time.
struct Lists {
  Entry* entries;
  Pair* pairs;
  int* counts;      // of each list
  float* partials;  // kernel gradient: [split][list][room], of pairs [split][list][room][9]
};

int64_t WorkspaceBytes(Product product, const CudaTiling& tiling);
Lists ListsIn(void* workspace, const CudaTiling& tiling);

// `kernel` is nullptr for the kernel gradient.
int LaunchBuildLists(const CudaTiling& tiling, const bool* mask, const float* kernel,
                     const Lists& lists, void* stream);

// result = kernel times source.
int LaunchMultiply(const CudaTiling& tiling, const float* source, const Lists& lists, float* result,
                   void* stream);

// result = gradient by the active weights, 0 for the others.
int LaunchKernelGradient(const CudaTiling& tiling, const float* inputs,
                         const float* output_gradient, const bool* mask, const Lists& lists,
                         float* result, void* stream);

// The parts of these by the kind of the tiling's lists.
int LaunchMultiplyPairs(const CudaTiling& tiling, const float* source, const Lists& lists,
                        float* result, void* stream);
int LaunchWeightSums(const CudaTiling& tiling, const float* inputs, const float* output_gradient,
                     const Lists& lists, void* stream);
int LaunchPairSums(const CudaTiling& tiling, const float* inputs, const float* output_gradient,
                   const Lists& lists, void* stream);

}  // namespace keras_sparse
