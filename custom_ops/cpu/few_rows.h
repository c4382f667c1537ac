// Matrix products of a few rows: a list of active weights for each output, and no tiles.
//
// With so few rows a weight costs more to find in the dense kernel than to multiply. So these plans
// can be given its values in their own order, read once: ConvPlan::ReadValues.
#pragma once

#include <cstdint>
#include <memory>

#include "custom_ops/contract/product.h"
#include "custom_ops/cpu/kernels.h"

namespace keras_sparse {

// Inputs [rows, in_channels], outputs [rows, out_channels]. The active weights by [chunk of input
// channels][output].
struct RowTables {
  int64_t rows, in_channels, out_channels;
  int32_t chunk_channels, chunks;
  const int64_t* first;      // chunks * out_channels + 1: of the weights of each output
  const uint16_t* channels;  // of each weight, in its chunk
};

// Loops for one set of instructions.
struct RowLoops {
  int lanes;  // the most rows
  // Outputs [first, end); both are multiples of 16, or end is the last.
  int64_t (*buffer_floats)(const RowTables& tables, int64_t first, int64_t end);
  void (*multiply)(const RowTables& tables, const float* inputs, const float* values,
                   float* outputs, int64_t first, int64_t end, float* buffer);
};

const RowLoops* PortableRowLoops();
const RowLoops* Avx2RowLoops();
const RowLoops* Avx512RowLoops();

// Null for gradients by the kernel, and for whatever is no matrix product of few rows.
std::unique_ptr<ConvPlan> MakeFewRowsPlan(Product product, const Convolution& convolution,
                                          const bool* mask, const Kernels& kernels);

}  // namespace keras_sparse
