// Starts a product on a GPU: by blocks on tensor cores, or on CUDA cores, as the structure says.
#pragma once

#include <cstdint>
#include <string>

#include "custom_ops/cuda/cores.h"
#include "custom_ops/triton/blocks.h"

namespace keras_sparse {

inline bool IsInBlocks(const Convolution& c) { return c.structure.kind == MaskStructure::kBlocks; }

// Why no kernel computes it, or nullptr.
inline const char* WhyNotOnGpu(Product product, const Convolution& c) {
  return IsInBlocks(c) ? WhyNotInBlocks(c) : WhyNotOnCudaCores(product, c);
}

inline int64_t GpuWorkspace(Product product, const Convolution& c) {
  return IsInBlocks(c) ? BlockWorkspace(product, c) : CudaCoresWorkspace(product, c);
}

// Returns at once: an empty string, or what went wrong. `stream`: a cudaStream_t.
inline std::string LaunchOnGpu(Product product, const Convolution& c, const BlockPointers& p,
                               void* stream) {
  if (IsInBlocks(c)) return RunInBlocks(product, c, p, stream);
  const int error = RunOnCudaCores(product, c, p.mask, static_cast<const float*>(p.first),
                                   static_cast<const float*>(p.second),
                                   static_cast<float*>(p.result), p.workspace, stream);
  return error == 0 ? "" : "launching a kernel failed with CUDA's error " + std::to_string(error);
}

}  // namespace keras_sparse
