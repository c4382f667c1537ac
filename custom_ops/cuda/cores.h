// What do the CUDA cores of a GPU compute of a sparse convolution, and how is it called? Free of
// any framework, and of CUDA's headers.
//
// Semantics and layouts are those of sparse_conv2d.h, float32 with IEEE multiply-adds, any mask.
// Sums are taken in a fixed order: the same inputs give the same bits. All pointers are on the
// device. The structure of the mask is built there in each call, a pass over the mask, so nothing
// waits for the GPU and nothing is kept from call to call.
#pragma once

#include <cstdint>

#include "custom_ops/contract/product.h"

namespace keras_sparse {

// What masks are expected to look like. It chooses the kernels: all of them give the right result
// for every mask.
enum class MaskStructure {
  kWeights,       // any weight may be missing
  kChannelPairs,  // all taps of an input and an output channel share the mask: faster where the
                  // kernel is 3x3
};

// An explanation for a person if the kernels do not take these sizes, else nullptr.
const char* WhyNotOnCudaCores(Product product, const ConvSizes& sizes, MaskStructure structure);

// Bytes of device memory that a call needs.
int64_t CudaCoresWorkspace(Product product, const ConvSizes& sizes, MaskStructure structure);

// `first`, `second`, `result` as in ConvPlan::Run; `workspace`: CudaCoresWorkspace bytes, aligned
// to 256; `stream`: a cudaStream_t. Returns at once: 0, or the cudaError_t of what could not be
// started.
int RunOnCudaCores(Product product, const ConvSizes& sizes, MaskStructure structure,
                   const bool* mask, const float* first, const float* second, float* result,
                   void* workspace, void* stream);

}  // namespace keras_sparse
