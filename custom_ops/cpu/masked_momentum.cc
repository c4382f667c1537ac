// The loop. Memory sets its pace, so that the compiler's vectors are enough, for any processor.
#include "custom_ops/contract/masked_momentum.h"

#include <algorithm>
#include <cstring>
#include <vector>

#include "custom_ops/contract/numbers.h"
#include "custom_ops/cpu/packed_mask.h"

namespace keras_sparse {
namespace {

constexpr int64_t kPart = 65536;  // weights: long enough to be worth a thread

// Without a branch, or it is no vector's: the bits of the value, or none.
inline float Masked(unsigned char active, float value) {
  uint32_t bits;
  std::memcpy(&bits, &value, sizeof bits);
  bits &= active != 0 ? ~uint32_t{0} : 0;
  std::memcpy(&value, &bits, sizeof bits);
  return value;
}

template <bool kNesterov>
void StepWeights(float learning_rate, float decay, int64_t count,
                 const unsigned char* __restrict mask, const float* __restrict gradient,
                 float* __restrict weight, float* __restrict momentum) {
  for (int64_t i = 0; i < count; ++i) {
    const float change = gradient[i] * learning_rate;
    const float velocity = momentum[i] * decay - change;
    weight[i] = Masked(mask[i], weight[i] + (kNesterov ? velocity * decay - change : velocity));
    momentum[i] = velocity;
  }
}

constexpr int64_t kChunk = 4096;  // weights: their gradients stay in the first cache
static_assert(kPart % kChunk == 0);

// Expands a chunk of the list into zeros, and steps by it as by any gradient.
class PlacesByChunk : public ActivePlaces {
 public:
  PlacesByChunk(const bool* mask, int64_t count) : count_(count), mask_(mask, count) {
    mask_.ForEachActive([&](int64_t weight) {
      first_.resize(weight / kChunk + 1, places_.size());
      places_.push_back(static_cast<uint16_t>(weight % kChunk));
    });
    first_.resize(DivideUp(count, kChunk) + 1, places_.size());
  }

  bool HasMask(const bool* mask) const override { return mask_.Equals(mask); }
  int64_t active() const override { return static_cast<int64_t>(places_.size()); }

  void ApplyMaskedMomentum(const MomentumStep& step, const bool* mask, const float* list,
                           float* weight, float* momentum,
                           const Parallel& parallel) const override {
    const auto* bytes = reinterpret_cast<const unsigned char*>(mask);
    const auto run = step.use_nesterov ? StepWeights<true> : StepWeights<false>;
    parallel.run(DivideUp(count_, kPart), kPart, [&](int64_t part) {
      alignas(64) float gradient[kChunk] = {};
      const int64_t end = std::min(count_, (part + 1) * kPart);
      for (int64_t begin = part * kPart; begin < end; begin += kChunk) {
        const int64_t first = first_[begin / kChunk], last = first_[begin / kChunk + 1];
        for (int64_t i = first; i < last; ++i) gradient[places_[i]] = list[i];
        run(step.learning_rate, step.decay, std::min(kChunk, end - begin), bytes + begin, gradient,
            weight + begin, momentum + begin);
        for (int64_t i = first; i < last; ++i) gradient[places_[i]] = 0;
      }
    });
  }

 private:
  int64_t count_;
  PackedMask mask_;
  std::vector<int64_t> first_;    // active weights before each chunk
  std::vector<uint16_t> places_;  // in its chunk, of each active weight
};

}  // namespace

std::unique_ptr<ActivePlaces> MakeActivePlaces(const bool* mask, int64_t count) {
  return std::make_unique<PlacesByChunk>(mask, count);
}

void ApplyMaskedMomentum(const MomentumStep& step, int64_t count, const bool* mask,
                         const float* gradient, float* weight, float* momentum,
                         const Parallel& parallel) {
  const auto* bytes = reinterpret_cast<const unsigned char*>(mask);
  const auto run = step.use_nesterov ? StepWeights<true> : StepWeights<false>;
  parallel.run(DivideUp(count, kPart), kPart, [&](int64_t part) {
    const int64_t begin = part * kPart, size = std::min(kPart, count - begin);
    run(step.learning_rate, step.decay, size, bytes + begin, gradient + begin, weight + begin,
        momentum + begin);
  });
}

}  // namespace keras_sparse
