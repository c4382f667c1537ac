// A product of a mask of blocks on the pixels of one lattice: what lattice_kernel.h is for single
// weights.
#pragma once

#include <algorithm>
#include <memory>

#include "custom_ops/cpu/active_blocks.h"
#include "custom_ops/cpu/block_tiling.h"
#include "custom_ops/cpu/block_values.h"
#include "custom_ops/cpu/kernels.h"
#include "custom_ops/cpu/lattice_product.h"

namespace keras_sparse {

class BlockKernel : public LatticeProduct {
 public:
  // Null where the inputs are too many for the loops over blocks.
  static std::unique_ptr<BlockKernel> Make(Product product, const Convolution& convolution,
                                           const Lattice& lattice, const BlockGrid& grid,
                                           const Kernels& kernels, int threads);
  BlockKernel(const BlockKernel&) = delete;

  void Multiply(const void* inputs, const void* kernel, void* result,
                const Parallel& parallel) const override;
  int64_t Values() const override { return active() * floats_; }
  void ReadValues(const void* kernel, float* values, const Parallel& parallel) const override;
  void MultiplyValues(const void* inputs, const float* values, void* result,
                      const Epilogue& epilogue, const Parallel& parallel) const override;
  int64_t SharedValues() const override;
  void MultiplyAndShare(const void* inputs, const void* kernel, void* result, float* shared,
                        const Epilogue& epilogue, const Parallel& parallel) const override;
  void MultiplyShared(const void* inputs, const float* shared, void* result,
                      const Epilogue& epilogue, const Parallel& parallel) const override;
  void Gradient(const void* inputs, const void* output_gradient, void* result,
                const Parallel& parallel, bool zeros_are_there) const override;
  void GradientList(const void* inputs, const void* output_gradient, void* list,
                    const Parallel& parallel) const override;
  bool GainsByBoth() const override;
  void Both(const BothGradients& both, const Parallel& parallel) const override;

 private:
  BlockKernel(Product product, const Convolution& convolution, const Lattice& lattice,
              const BlockGrid& grid, const BlockTiling& tiling, const Kernels& kernels,
              const BlockLoops& loops);

  int64_t SlicesOf(const Parallel& parallel) const {
    return std::min<int64_t>(parallel.threads, 1 + active() * floats_ / 65536);
  }
  WorkItem ItemOf(int64_t piece, int64_t pieces_of_groups) const;
  // work(begin, end) for slices of the blocks.
  template <class Work>
  void BySlices(const Work& work, const Parallel& parallel) const;
  const float* ValuesOf(const void* kernel, const Parallel& parallel) const;
  const float* ListedValuesOf(const float* shared, const Parallel& parallel) const;
  // Of the gradient: [piece][block], as many pieces as PiecesOf says. run(item, sums) for each of
  // them.
  template <class Run>
  const float* SumsBy(const Run& run, int64_t products, const Parallel& parallel) const;
  void Write(const float* sums, void* result, const Parallel& parallel, bool zeros_are_there) const;
  void WriteList(const float* sums, void* list, const Parallel& parallel) const;
  const float* SumsOf(const void* inputs, const void* output_gradient,
                      const Parallel& parallel) const;
  int64_t PiecesOf(const Parallel& parallel) const {
    return std::min<int64_t>(groups_, parallel.threads);
  }
  int64_t active() const { return static_cast<int64_t>(list_.blocks.size()); }

  const BlockLoops& loops_;
  const ElementType type_;
  PackedPixels packed_;
  BlockList list_;
  BlockPlaces places_;
  std::vector<int32_t> rows_;  // RowsInList
  BlockTables tables_;
  int64_t groups_, weights_, active_weights_ = 0;
  int32_t floats_;  // of a block
};

}  // namespace keras_sparse
