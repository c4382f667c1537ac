// The loop. Memory sets its pace, so that the compiler's vectors are enough, for any processor.
#include "custom_ops/contract/masked_momentum.h"

#include <algorithm>
#include <cstring>

#include "custom_ops/contract/numbers.h"

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

}  // namespace

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
