// Plans for a CPU with loops of one's choice; MakeConvPlan takes the best.
#pragma once

#include <memory>
#include <vector>

#include "custom_ops/contract/product.h"
#include "custom_ops/cpu/kernels.h"

namespace keras_sparse {

// The loops that run on this processor, the best last.
std::vector<const Kernels*> AvailableKernels();

std::unique_ptr<ConvPlan> MakeCpuPlan(Product product, const Convolution& convolution,
                                      const bool* mask, int threads, const Kernels& kernels);

}  // namespace keras_sparse
