// The step of masked weights by parts of the weights, with the loops for this processor.
#include "custom_ops/contract/masked_momentum.h"

#include <algorithm>
#include <cstring>
#include <vector>

#include "custom_ops/contract/numbers.h"
#include "custom_ops/contract/product.h"
#include "custom_ops/cpu/momentum_kernels.h"
#include "custom_ops/cpu/packed_mask.h"

namespace keras_sparse {

const MomentumKernels& MomentumFor(const char* instructions) {
#if !defined(KERAS_SPARSE_ONLY_PORTABLE)
  for (const auto* kernels : {Avx2Momentum(), Avx512Momentum()})
    if (std::strcmp(kernels->name, instructions) == 0) return *kernels;
#endif
  (void)instructions;
  return *PortableMomentum();
}

namespace {

constexpr int64_t kPart = 65536;  // weights: long enough to be worth a thread
constexpr int64_t kChunk = 4096;  // weights: their gradients stay in the first cache
static_assert(kPart % kChunk == 0 && kChunk % PackedMask::kWord == 0);

class PlacesByChunk : public ActivePlaces {
 public:
  PlacesByChunk(const MomentumKernels& kernels, const bool* mask, int64_t count)
      : kernels_(kernels), count_(count), mask_(mask, count) {
    int64_t active = 0;
    mask_.ForEachActive([&](int64_t weight) {
      first_.resize(weight / kChunk + 1, active++);
      if (kernels.step_by_list == nullptr)
        places_.push_back(static_cast<uint16_t>(weight % kChunk));
    });
    first_.resize(DivideUp(count, kChunk) + 1, active);
  }

  int64_t active() const override { return first_.back(); }

  void ApplyMaskedMomentum(const MomentumStep& step, const bool* mask, const float* list,
                           float* weight, float* momentum, float* values,
                           const Parallel& parallel) const override {
    parallel.run(DivideUp(count_, kPart), kPart, [&](int64_t part) {
      const int64_t begin = part * kPart, size = std::min(kPart, count_ - begin);
      if (kernels_.step_by_list == nullptr) {
        ByChunks(step, begin, size, mask, list, weight, momentum, values);
      } else {
        const int64_t first = first_[begin / kChunk];
        kernels_.step_by_list(step, size, mask_.words() + begin / PackedMask::kWord, list + first,
                              weight + begin, momentum + begin,
                              values == nullptr ? nullptr : values + first);
      }
    });
  }

 private:
  // Expands a chunk of the list into zeros, and steps by it as by any gradient.
  void ByChunks(const MomentumStep& step, int64_t begin, int64_t size, const bool* mask,
                const float* list, float* weight, float* momentum, float* values) const {
    alignas(64) float gradient[kChunk] = {};
    for (const int64_t end = begin + size; begin < end; begin += kChunk) {
      const int64_t first = first_[begin / kChunk], last = first_[begin / kChunk + 1];
      for (int64_t i = first; i < last; ++i) gradient[places_[i]] = list[i];
      kernels_.step(step, std::min(kChunk, end - begin), mask + begin, gradient, weight + begin,
                    momentum + begin);
      for (int64_t i = first; i < last; ++i) gradient[places_[i]] = 0;
      if (values == nullptr) continue;
      for (int64_t i = first; i < last; ++i) values[i] = weight[begin + places_[i]];
    }
  }

  const MomentumKernels& kernels_;
  const int64_t count_;
  const PackedMask mask_;
  std::vector<int64_t> first_;    // active weights before each chunk
  std::vector<uint16_t> places_;  // in its chunk, of each active weight; for loops without lists
};

const MomentumKernels& Chosen() {
  static const MomentumKernels& kernels = MomentumFor(VectorInstructions());
  return kernels;
}

}  // namespace

std::unique_ptr<ActivePlaces> MakeActivePlaces(const MomentumKernels& kernels, const bool* mask,
                                               int64_t count) {
  return std::make_unique<PlacesByChunk>(kernels, mask, count);
}

std::unique_ptr<ActivePlaces> MakeActivePlaces(const bool* mask, int64_t count) {
  return MakeActivePlaces(Chosen(), mask, count);
}

void ApplyMaskedMomentum(const MomentumKernels& kernels, const MomentumStep& step, int64_t count,
                         const bool* mask, const float* gradient, float* weight, float* momentum,
                         const Parallel& parallel) {
  parallel.run(DivideUp(count, kPart), kPart, [&](int64_t part) {
    const int64_t begin = part * kPart, size = std::min(kPart, count - begin);
    kernels.step(step, size, mask + begin, gradient + begin, weight + begin, momentum + begin);
  });
}

void ApplyMaskedMomentum(const MomentumStep& step, int64_t count, const bool* mask,
                         const float* gradient, float* weight, float* momentum,
                         const Parallel& parallel) {
  ApplyMaskedMomentum(Chosen(), step, count, mask, gradient, weight, momentum, parallel);
}

}  // namespace keras_sparse
