// Sparse convolutions on the CUDA cores of a GPU. Free of any framework, and of CUDA's headers.
//
// Semantics and layouts are those of contract/product.h, float32 with IEEE multiply-adds, any mask.
// Sums are taken in a fixed order: the same inputs give the same bits. All pointers are on the
// device. The lists of active weights are built there in each call, in a pass over the mask. So
// nothing waits for the GPU, and nothing is kept from call to call.
#pragma once

#include <cstdint>

#include "custom_ops/contract/product.h"

namespace keras_sparse {

// Why there is no kernel: "`argument` must ...", by the names that the ops have for their
// arguments; nullptr if there is one.
const char* WhyNotOnCudaCores(Product product, const Convolution& convolution);

// Bytes of device memory that a call needs.
int64_t CudaCoresWorkspace(Product product, const Convolution& convolution);

// `first`, `second`, `result` as in ConvPlan::Run; `workspace`: CudaCoresWorkspace bytes, aligned
// to 256; `stream`: a cudaStream_t. Returns at once: 0, or the cudaError_t of what could not be
// started.
int RunOnCudaCores(Product product, const Convolution& convolution, const bool* mask,
                   const float* first, const float* second, float* result, void* workspace,
                   void* stream);

}  // namespace keras_sparse
