// One pass over a lattice: its tables, and the pieces into which its work is cut.
#pragma once

#include <cstdint>
#include <memory>

#include "custom_ops/cpu/active_list.h"
#include "custom_ops/cpu/kernels.h"

namespace keras_sparse {

class Pass {
 public:
  Pass(Product product, const ConvSizes& sizes, const Lattice& lattice, const PackedMask& mask,
       const Kernels& kernels, int threads);
  Pass(const Pass&) = delete;

  // result = kernel times inputs, on the pixels of this lattice.
  void Multiply(const float* inputs, const float* kernel, float* result,
                const Parallel& parallel) const;

  // result = gradient by the active weights, 0 for the others.
  void Gradient(const float* inputs, const float* output_gradient, float* result,
                const Parallel& parallel) const;

 private:
  // Sums over the pieces, in the order of the kernel, zeros between them.
  void WriteGradient(const float* sums, int64_t pieces, float* result,
                     const Parallel& parallel) const;

  Work WorkOf(int64_t piece, int64_t pieces_of_groups) const;

  const Kernels& kernels_;
  PackedPixels packed_;
  ActiveList list_;
  PassTables tables_;
  int64_t groups_, weights_;
};

}  // namespace keras_sparse
