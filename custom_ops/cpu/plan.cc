// The plan for a CPU: the passes of a product, run by the loops for this processor.
#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <limits>
#include <vector>

#include "custom_ops/cpu/pass.h"

namespace keras_sparse {
namespace {

const Kernels* ChooseKernels() {
  std::vector<const Kernels*> known = {PortableKernels()};
#if !defined(KERAS_SPARSE_ONLY_PORTABLE)
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"))
    known.push_back(Avx2Kernels());
  if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
      __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl"))
    known.push_back(Avx512Kernels());
#endif
  const char* asked = std::getenv("KERAS_SPARSE_INSTRUCTIONS");
  for (const Kernels* kernels : known)
    if (asked != nullptr && std::strcmp(asked, kernels->name) == 0) return kernels;
  return known.back();
}

const Kernels& ChosenKernels() {
  static const Kernels& kernels = *ChooseKernels();
  return kernels;
}

// A 1x1 convolution is a matrix product: its pixels in one row, so that tiles need not end with the
// images' rows.
ConvSizes InOneRow(ConvSizes s) {
  if (s.kernel_height * s.kernel_width * s.stride_height * s.stride_width != 1) return s;
  if (s.pad_top != 0 || s.pad_left != 0 || s.out_height != s.in_height || s.out_width != s.in_width)
    return s;
  s.in_width = s.out_width = s.batch * s.in_height * s.in_width;
  s.batch = s.in_height = s.out_height = 1;
  return s;
}

class CpuPlan : public ConvPlan {
 public:
  CpuPlan(Product product, const ConvSizes& sizes, const bool* mask, int threads)
      : product_(product), sizes_(sizes), mask_(mask, sizes.weights()) {
    if (sizes.outputs() == 0 || sizes.inputs() == 0) return;  // nothing but zeros
    const ConvSizes s = InOneRow(sizes);
    for (const Lattice& lattice : MakeLattices(product, s))
      passes_.push_back(std::make_unique<Pass>(product, s, lattice, mask_, ChosenKernels(),
                                               std::max(1, threads)));
  }

  bool Matches(const ConvSizes& sizes, const bool* mask) const override {
    return std::memcmp(&sizes, &sizes_, sizeof sizes) == 0 && mask_.Equals(mask);
  }

  void Run(const float* first, const float* second, float* result,
           const Parallel& parallel) const override {
    if (product_ == Product::kKernelGradient) {
      if (passes_.empty()) Fill(result, sizes_.weights(), parallel);
      for (const auto& pass : passes_) pass->Gradient(first, second, result, parallel);
      return;
    }
    if (passes_.empty())
      Fill(result, product_ == Product::kForward ? sizes_.outputs() : sizes_.inputs(), parallel);
    for (const auto& pass : passes_) pass->Multiply(first, second, result, parallel);
  }

 private:
  static void Fill(float* result, int64_t count, const Parallel& parallel) {
    const int64_t slices = std::min<int64_t>(parallel.threads, 1 + count / 65536);
    parallel.run(slices, count / slices, [&](int64_t slice) {
      const int64_t begin = count * slice / slices, end = count * (slice + 1) / slices;
      std::memset(result + begin, 0, (end - begin) * sizeof(float));
    });
  }

  const Product product_;
  const ConvSizes sizes_;
  const PackedMask mask_;
  std::vector<std::unique_ptr<Pass>> passes_;
};

}  // namespace

std::unique_ptr<ConvPlan> MakeConvPlan(Product product, const ConvSizes& sizes, const bool* mask,
                                       int threads) {
  return std::make_unique<CpuPlan>(product, sizes, mask, threads);
}

const char* WhyUnsupported(const ConvSizes& s) {
  constexpr int64_t kLimit = int64_t{1} << 29;
  for (const int64_t size :
       {s.batch * s.in_height * s.in_width, s.batch * s.out_height * s.out_width})
    if (size >= kLimit) return "more than 2^29 pixels";
  if (s.weights() >= kLimit) return "more than 2^29 weights";
  for (const int64_t size : {s.kernel_height, s.kernel_width, s.stride_height, s.stride_width})
    if (size > 1024) return "a kernel or stride larger than 1024";
  return nullptr;
}

const char* Instructions() { return ChosenKernels().name; }

}  // namespace keras_sparse
