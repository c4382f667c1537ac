// The step of masked weights by parts of the weights, with the loops for this processor.
#include "custom_ops/contract/masked_step.h"

#include <algorithm>
#include <cstring>
#include <vector>

#include "custom_ops/contract/numbers.h"
#include "custom_ops/contract/product.h"
#include "custom_ops/cpu/packed_mask.h"
#include "custom_ops/cpu/step_kernels.h"

namespace keras_sparse {

const StepKernels& StepFor(const char* instructions) {
#if !defined(KERAS_SPARSE_ONLY_PORTABLE)
  for (const auto* kernels : {Avx2Step(), Avx512Step()})
    if (std::strcmp(kernels->name, instructions) == 0) return *kernels;
#endif
  (void)instructions;
  return *PortableStep();
}

namespace {

constexpr int64_t kPart = 65536;  // weights: long enough to be worth a thread
constexpr int64_t kChunk = 4096;  // weights: their gradients stay in the first cache
static_assert(kPart % kChunk == 0 && kChunk % PackedMask::kWord == 0);

Moments From(const Moments& moments, int64_t begin) {
  return {moments.momentum + begin,
          moments.velocity == nullptr ? nullptr : moments.velocity + begin};
}

class PlacesByChunk : public ActivePlaces {
 public:
  PlacesByChunk(const StepKernels& kernels, const bool* mask, int64_t count)
      : kernels_(kernels), count_(count), mask_(mask, count) {
    int64_t active = 0;
    mask_.ForEachActive([&](int64_t weight) {
      first_.resize(weight / kChunk + 1, active++);
      if (kernels.momentum.by_list == nullptr)
        places_.push_back(static_cast<uint16_t>(weight % kChunk));
    });
    first_.resize(DivideUp(count, kChunk) + 1, active);
  }

  int64_t active() const override { return first_.back(); }

  void ApplyMaskedStep(const MomentumStep& step, const bool* mask, const float* list, float* weight,
                       Moments moments, float* values, const Parallel& parallel) const override {
    ByParts(step, mask, list, weight, moments, values, parallel);
  }

  void ApplyMaskedStep(const AdamStep& step, const bool* mask, const float* list, float* weight,
                       Moments moments, float* values, const Parallel& parallel) const override {
    ByParts(step, mask, list, weight, moments, values, parallel);
  }

 private:
  template <class Step>
  void ByParts(const Step& step, const bool* mask, const float* list, float* weight,
               const Moments& moments, float* values, const Parallel& parallel) const {
    const StepLoops<Step>& loops = kernels_.Of<Step>();
    parallel.run(DivideUp(count_, kPart), kPart, [&](int64_t part) {
      const int64_t begin = part * kPart, size = std::min(kPart, count_ - begin);
      if (loops.by_list == nullptr) {
        ByChunks(step, begin, size, mask, list, weight, moments, values);
      } else {
        const int64_t first = first_[begin / kChunk];
        loops.by_list(step, size, mask_.words() + begin / PackedMask::kWord, list + first,
                      weight + begin, From(moments, begin),
                      values == nullptr ? nullptr : values + first);
      }
    });
  }

  // Expands a chunk of the list into zeros, and steps by it as by any gradient.
  template <class Step>
  void ByChunks(const Step& step, int64_t begin, int64_t size, const bool* mask, const float* list,
                float* weight, const Moments& moments, float* values) const {
    alignas(64) float gradient[kChunk] = {};
    for (const int64_t end = begin + size; begin < end; begin += kChunk) {
      const int64_t first = first_[begin / kChunk], last = first_[begin / kChunk + 1];
      for (int64_t i = first; i < last; ++i) gradient[places_[i]] = list[i];
      kernels_.Of<Step>().by_gradient(step, std::min(kChunk, end - begin), mask + begin, gradient,
                                      weight + begin, From(moments, begin));
      for (int64_t i = first; i < last; ++i) gradient[places_[i]] = 0;
      if (values == nullptr) continue;
      for (int64_t i = first; i < last; ++i) values[i] = weight[begin + places_[i]];
    }
  }

  const StepKernels& kernels_;
  const int64_t count_;
  const PackedMask mask_;
  std::vector<int64_t> first_;    // active weights before each chunk
  std::vector<uint16_t> places_;  // in its chunk, of each active weight; for loops without lists
};

const StepKernels& Chosen() {
  static const StepKernels& kernels = StepFor(VectorInstructions());
  return kernels;
}

}  // namespace

std::unique_ptr<ActivePlaces> MakeActivePlaces(const StepKernels& kernels, const bool* mask,
                                               int64_t count) {
  return std::make_unique<PlacesByChunk>(kernels, mask, count);
}

std::unique_ptr<ActivePlaces> MakeActivePlaces(const bool* mask, int64_t count) {
  return MakeActivePlaces(Chosen(), mask, count);
}

template <class Step>
void ApplyMaskedStep(const StepKernels& kernels, const Step& step, int64_t count, const bool* mask,
                     const float* gradient, float* weight, Moments moments,
                     const Parallel& parallel) {
  parallel.run(DivideUp(count, kPart), kPart, [&](int64_t part) {
    const int64_t begin = part * kPart, size = std::min(kPart, count - begin);
    kernels.Of<Step>().by_gradient(step, size, mask + begin, gradient + begin, weight + begin,
                                   From(moments, begin));
  });
}

template void ApplyMaskedStep(const StepKernels&, const MomentumStep&, int64_t, const bool*,
                              const float*, float*, Moments, const Parallel&);
template void ApplyMaskedStep(const StepKernels&, const AdamStep&, int64_t, const bool*,
                              const float*, float*, Moments, const Parallel&);

void ApplyMaskedStep(const MomentumStep& step, int64_t count, const bool* mask,
                     const float* gradient, float* weight, Moments moments,
                     const Parallel& parallel) {
  ApplyMaskedStep(Chosen(), step, count, mask, gradient, weight, moments, parallel);
}

void ApplyMaskedStep(const AdamStep& step, int64_t count, const bool* mask, const float* gradient,
                     float* weight, Moments moments, const Parallel& parallel) {
  ApplyMaskedStep(Chosen(), step, count, mask, gradient, weight, moments, parallel);
}

}  // namespace keras_sparse
