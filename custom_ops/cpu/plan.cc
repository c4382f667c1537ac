// The plan for a CPU: a product lattice by lattice, by the loops for this processor. It looks at
// the mask: whole blocks have loops of their own, whatever structure was declared.
#include "custom_ops/cpu/plan.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <utility>
#include <vector>

#include "custom_ops/contract/matmul.h"
#include "custom_ops/contract/numbers.h"
#include "custom_ops/contract/window.h"
#include "custom_ops/cpu/block_kernel.h"
#include "custom_ops/cpu/few_rows.h"
#include "custom_ops/cpu/lattice_kernel.h"

namespace keras_sparse {

std::vector<const Kernels*> AvailableKernels() {
  std::vector<const Kernels*> available = {PortableKernels()};
#if !defined(KERAS_SPARSE_ONLY_PORTABLE)
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") &&
      __builtin_cpu_supports("f16c"))
    available.push_back(Avx2Kernels());
  if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
      __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl")) {
    available.push_back(Avx512Kernels());
    if (AmxKernels() != nullptr) available.push_back(AmxKernels());
  }
#endif
  return available;
}

namespace {

const Kernels* ChooseKernels() {
  const std::vector<const Kernels*> available = AvailableKernels();
  const char* asked = std::getenv("KERAS_SPARSE_INSTRUCTIONS");
  for (const Kernels* kernels : available)
    if (asked != nullptr && std::strcmp(asked, kernels->name) == 0) return kernels;
  return available.back();
}

const Kernels& ChosenKernels() {
  static const Kernels& kernels = *ChooseKernels();
  return kernels;
}

class CpuPlan : public ConvPlan {
 public:
  CpuPlan(Product product, const Convolution& convolution, const bool* mask, int threads,
          const Kernels& kernels)
      : product_(product),
        type_(convolution.type),
        result_size_(ResultSize(product, convolution.sizes)) {
    if (convolution.IsEmpty()) return;  // nothing but zeros
    const PackedMask packed(mask, convolution.sizes.weights());
    packed.ForEachActive([&](int64_t) { ++active_; });
    Convolution c = convolution;
    c.sizes = InOneRow(convolution.sizes);
    has_strides_ = c.sizes.stride_height > 1 || c.sizes.stride_width > 1;
    const auto blocks = FindBlocks(packed, c.sizes);
    for (const Lattice& lattice : MakeLattices(product, c)) {
      std::unique_ptr<LatticeProduct> kernel;
      if (blocks)
        kernel = BlockKernel::Make(product, c, lattice, *blocks, kernels, std::max(1, threads));
      if (kernel == nullptr)
        kernel = std::make_unique<LatticeKernel>(product, c, lattice, packed, kernels,
                                                 std::max(1, threads));
      lattices_.push_back(std::move(kernel));
    }
  }

  void Run(const void* first, const void* second, void* result, const Parallel& parallel,
           bool is_own) const override {
    if (lattices_.empty() && result_size_ > 0)
      FillWithZeros(result, result_size_ * ElementBytes(type_), parallel);
    for (const auto& lattice : lattices_) {
      if (product_ == Product::kKernelGradient) {
        lattice->Gradient(first, second, result, parallel, is_own);
      } else {
        lattice->Multiply(first, second, result, parallel);
      }
    }
  }

  int64_t KeptValues() const override {
    if (product_ == Product::kKernelGradient) return 0;
    int64_t values = 0;
    for (const auto& lattice : lattices_) values += lattice->Values();
    return values;
  }

  // Those of each lattice, one lattice behind the other.
  void ReadValues(const void* kernel, float* values, const Parallel& parallel) const override {
    for (const auto& lattice : lattices_) {
      lattice->ReadValues(kernel, values, parallel);
      values += lattice->Values();
    }
  }

  // Each result of these products is in one lattice.
  bool HasEpilogue() const override {
    return product_ != Product::kKernelGradient && !lattices_.empty();
  }

  void RunWithValues(const void* first, const float* values, void* result, const Epilogue& epilogue,
                     const Parallel& parallel) const override {
    for (const auto& lattice : lattices_) {
      lattice->MultiplyValues(first, values, result, epilogue, parallel);
      values += lattice->Values();
    }
  }

  // Without strides there is one lattice, which has all active weights.
  bool GainsByBoth() const override {
    return product_ == Product::kInputGradient && !has_strides_ && !lattices_.empty() &&
           lattices_[0]->GainsByBoth();
  }

  void RunBoth(const BothGradients& both, const Parallel& parallel) const override {
    lattices_[0]->Both(both, parallel);
  }

  int64_t SharedValues() const override {
    const bool is_whole = product_ != Product::kKernelGradient && lattices_.size() == 1 &&
                          lattices_[0]->SharedValues() == active_;
    return is_whole ? active_ : 0;
  }

  void RunAndShare(const void* first, const void* kernel, void* result, float* shared,
                   const Epilogue& epilogue, const Parallel& parallel) const override {
    lattices_[0]->MultiplyAndShare(first, kernel, result, shared, epilogue, parallel);
  }

  void RunShared(const void* first, const float* shared, void* result, const Epilogue& epilogue,
                 const Parallel& parallel) const override {
    lattices_[0]->MultiplyShared(first, shared, result, epilogue, parallel);
  }

  int64_t ActiveWeights() const override { return active_; }

  // The output pixels of a kernel gradient are one lattice.
  void RunToList(const void* first, const void* second, void* list,
                 const Parallel& parallel) const override {
    if (active_ > 0) lattices_[0]->GradientList(first, second, list, parallel);
  }

 private:
  const Product product_;
  const ElementType type_;
  const int64_t result_size_;
  bool has_strides_ = false;
  int64_t active_ = 0;
  std::vector<std::unique_ptr<LatticeProduct>> lattices_;
};

}  // namespace

std::unique_ptr<ConvPlan> MakeCpuPlan(Product product, const Convolution& convolution,
                                      const bool* mask, int threads, const Kernels& kernels) {
  auto plan = MakeFewRowsPlan(product, convolution, mask, kernels);
  if (plan != nullptr) return plan;
  return std::make_unique<CpuPlan>(product, convolution, mask, threads, kernels);
}

std::unique_ptr<ConvPlan> MakeConvPlan(Product product, const Convolution& convolution,
                                       const bool* mask, int threads) {
  return MakeCpuPlan(product, convolution, mask, threads, ChosenKernels());
}

const char* WhyNotOnCpu(const Convolution& convolution) {
  constexpr int64_t kMost = int64_t{1} << 29, kMostPixels = 1024;
  const ConvSizes& s = convolution.sizes;
  if (s.batch * s.in_height * s.in_width >= kMost)
    return "`inputs` must have fewer than 2^29 pixels";
  if (s.batch * s.out_height * s.out_width >= kMost)
    return "`inputs` must give outputs of fewer than 2^29 pixels";
  if (s.weights() >= kMost) return "`kernel` must have fewer than 2^29 weights";
  if (std::max(Span(s.kernel_height, convolution.dilation_height),
               Span(s.kernel_width, convolution.dilation_width)) > kMostPixels)
    return "`kernel` must span at most 1024 pixels each way";
  if (std::max(s.stride_height, s.stride_width) > kMostPixels)
    return "`strides` must be at most 1024";
  return nullptr;
}

const char* Instructions() { return ChosenKernels().name; }
const char* VectorInstructions() { return ChosenKernels().vectors; }

}  // namespace keras_sparse
