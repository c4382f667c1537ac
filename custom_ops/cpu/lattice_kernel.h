// A product of single weights on the pixels of one lattice: its tables, and the work items into
// which it is cut.
#pragma once

#include <cstdint>
#include <memory>

#include "custom_ops/cpu/active_list.h"
#include "custom_ops/cpu/kernels.h"
#include "custom_ops/cpu/lattice_product.h"

namespace keras_sparse {

class LatticeKernel : public LatticeProduct {
 public:
  LatticeKernel(Product product, const Convolution& convolution, const Lattice& lattice,
                const PackedMask& mask, const Kernels& kernels, int threads);
  LatticeKernel(const LatticeKernel&) = delete;

  void Multiply(const void* inputs, const void* kernel, void* result,
                const Parallel& parallel) const override;
  int64_t Values() const override { return active(); }
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
  int64_t active() const { return static_cast<int64_t>(list_->weight.size()); }

  // Calls read(i) for each active weight in the kernel's order, and puts what it returns into the
  // order of the loops.
  template <class Read>
  void ReadBy(Read read, float* values, const Parallel& parallel) const;
  template <class Read>
  const float* ValuesBy(Read read, const Parallel& parallel) const;
  template <class Read>
  void MultiplyBy(Read read, const void* inputs, void* result, const Epilogue& epilogue,
                  const Parallel& parallel) const;

  // The gradients by the active weights in the order of the loops, each the sum of its pieces.
  struct Sums {
    const float* first;
    int64_t pieces, active;

    float At(int32_t place) const {
      float sum = 0;
      for (int64_t piece = 0; piece < pieces; ++piece) sum += first[piece * active + place];
      return sum;
    }
  };
  Sums SumsOf(const void* inputs, const void* output_gradient, const Parallel& parallel) const;
  // run(item, sums, lane_sums) for pieces of the groups.
  template <class Run>
  Sums SumsBy(const Run& run, int64_t cycles_of_weight, const Parallel& parallel) const;
  void Write(const Sums& sums, void* result, const Parallel& parallel, bool zeros_are_there) const;
  void WriteList(const Sums& sums, void* list, const Parallel& parallel) const;

  // In the order of the kernel: the weights in [begin, end), and between them, where `fill`, zeros.
  void WriteGradient(const Sums& sums, int64_t begin, int64_t end, bool fill, void* result) const;

  WorkItem ItemOf(int64_t piece, int64_t pieces_of_groups) const;

  const Kernels& kernels_;
  const ElementType type_;
  const KernelType kernel_type_;
  PackedPixels packed_;
  std::shared_ptr<const ActiveList> list_;
  LatticeTables tables_;
  int64_t groups_, weights_;
};

}  // namespace keras_sparse
