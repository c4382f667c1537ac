// Which kernels make up a product, and what do they hand to one another? Launches: 0 or a
// cudaError_t.
#pragma once

#include <cstdint>

#include "custom_ops/cuda/plan.cuh"

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

// The workspace. Lists begin at multiples of plan.room(), so that no sum over all lists has to be
// known before they are filled: room for a dense kernel is needed anyway, and only what is used
// costs time.
struct Lists {
  Entry* entries;
  Pair* pairs;
  int* counts;      // of each list
  float* partials;  // kernel gradient: [split][list][room], of pairs [split][list][room][9]
};

int64_t WorkspaceBytes(Product product, const Plan& plan);
Lists ListsIn(void* workspace, const Plan& plan);

// `kernel` is nullptr for the kernel gradient.
int LaunchBuildLists(const Plan& plan, const bool* mask, const float* kernel, const Lists& lists,
                     void* stream);

// result = kernel times source.
int LaunchMultiply(const Plan& plan, const float* source, const Lists& lists, float* result,
                   void* stream);

// result = gradient by the active weights, 0 for the others.
int LaunchKernelGradient(const Plan& plan, const float* inputs, const float* output_gradient,
                         const bool* mask, const Lists& lists, float* result, void* stream);

// The parts of these by the kind of the plan's lists.
int LaunchMultiplyPairs(const Plan& plan, const float* source, const Lists& lists, float* result,
                        void* stream);
int LaunchWeightSums(const Plan& plan, const float* inputs, const float* output_gradient,
                     const Lists& lists, void* stream);
int LaunchPairSums(const Plan& plan, const float* inputs, const float* output_gradient,
                   const Lists& lists, void* stream);

}  // namespace keras_sparse
