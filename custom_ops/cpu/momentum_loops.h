// The loops of the masked step, compiled once for each set of instructions. Memory sets their pace.
//
// A dense gradient and a list of it give the same bits: one function steps by both. Products are
// rounded before they are added (-ffp-contract=off), so the step has the bits of TensorFlow's own
// operations: an optimizer at density 1 is the inner optimizer.
#pragma once

#include "custom_ops/cpu/momentum_kernels.h"
#include "custom_ops/cpu/vector.h"

namespace keras_sparse::KERAS_SPARSE_INSTRUCTIONS {

#if defined(__AVX512F__)

struct Rates {
  __m512 learning_rate, decay;

  explicit Rates(const MomentumStep& step)
      : learning_rate(_mm512_set1_ps(step.learning_rate)), decay(_mm512_set1_ps(step.decay)) {}
};

// 16 weights, or fewer: those in `lanes`. Returns them.
template <bool kNesterov>
KS_INLINE __m512 StepVector(const Rates& rates, __mmask16 lanes, __mmask16 active, __m512 gradient,
                            float* weight, float* momentum) {
  const __m512 change = _mm512_mul_ps(gradient, rates.learning_rate);
  const auto faded_less_change = [&](__m512 value) {
    return _mm512_sub_ps(_mm512_mul_ps(value, rates.decay), change);
  };
  const __m512 velocity = faded_less_change(_mm512_maskz_loadu_ps(lanes, momentum));
  const __m512 move = kNesterov ? faded_less_change(velocity) : velocity;
  const __m512 moved = _mm512_maskz_add_ps(active, _mm512_maskz_loadu_ps(lanes, weight), move);
  _mm512_mask_storeu_ps(momentum, lanes, velocity);
  _mm512_mask_storeu_ps(weight, lanes, moved);
  return moved;
}

// Calls next(lanes, i) for the weights from i on; it returns their mask and their gradient. Then
// calls stepped(active, weights).
struct ActiveAndGradient {
  __mmask16 active;
  __m512 gradient;
};

template <bool kNesterov, class Next, class Stepped>
KS_INLINE void StepAll(const MomentumStep& step, int64_t count, float* weight, float* momentum,
                       Next next, Stepped stepped) {
  const Rates rates(step);
  int64_t i = 0;
  for (; i + 16 <= count; i += 16) {
    const ActiveAndGradient now = next(0xffff, i);
    stepped(now.active, StepVector<kNesterov>(rates, 0xffff, now.active, now.gradient, weight + i,
                                              momentum + i));
  }
  if (i == count) return;
  const __mmask16 lanes = static_cast<__mmask16>((1u << (count - i)) - 1);
  const ActiveAndGradient now = next(lanes, i);
  stepped(now.active,
          StepVector<kNesterov>(rates, lanes, now.active, now.gradient, weight + i, momentum + i));
}

template <bool kNesterov>
void StepWeights(const MomentumStep& step, int64_t count, const bool* mask, const float* gradient,
                 float* weight, float* momentum) {
  const auto next = [=](__mmask16 lanes, int64_t i) {
    const __m128i bytes = _mm_maskz_loadu_epi8(lanes, mask + i);
    return ActiveAndGradient{_mm_test_epi8_mask(bytes, bytes),
                             _mm512_maskz_loadu_ps(lanes, gradient + i)};
  };
  StepAll<kNesterov>(step, count, weight, momentum, next, [](__mmask16, __m512) {});
}

// A register is compressed and then stored: the instruction that does both in memory is slow on
// some processors.
KS_INLINE void StoreActive(__mmask16 active, __m512 weights, float** values) {
  const int count = __builtin_popcount(active);
  const __mmask16 first = static_cast<__mmask16>((1u << count) - 1);
  _mm512_mask_storeu_ps(*values, first, _mm512_maskz_compress_ps(active, weights));
  *values += count;
}

template <bool kNesterov>
void StepWeightsByList(const MomentumStep& step, int64_t count, const uint16_t* bits,
                       const float* list, float* weight, float* momentum, float* values) {
  const auto next = [&list, bits](__mmask16, int64_t i) {
    const __mmask16 active = bits[i / 16];
    const __m512 gradient = _mm512_maskz_expandloadu_ps(active, list);
    list += __builtin_popcount(active);
    return ActiveAndGradient{active, gradient};
  };
  if (values == nullptr)
    return StepAll<kNesterov>(step, count, weight, momentum, next, [](__mmask16, __m512) {});
  StepAll<kNesterov>(
      step, count, weight, momentum, next,
      [&values](__mmask16 active, __m512 weights) { StoreActive(active, weights, &values); });
}

#else

// Without a branch, or it is no vector's: the bits of the value, or none.
KS_INLINE float MaskedValue(unsigned char active, float value) {
  uint32_t bits;
  std::memcpy(&bits, &value, sizeof bits);
  bits &= active != 0 ? ~uint32_t{0} : 0;
  std::memcpy(&value, &bits, sizeof bits);
  return value;
}

template <bool kNesterov>
void StepWeights(const MomentumStep& step, int64_t count, const bool* mask,
                 const float* __restrict gradient, float* __restrict weight,
                 float* __restrict momentum) {
  const auto* __restrict bytes = reinterpret_cast<const unsigned char*>(mask);
  const float learning_rate = step.learning_rate, decay = step.decay;
  for (int64_t i = 0; i < count; ++i) {
    const float change = gradient[i] * learning_rate;
    const float velocity = momentum[i] * decay - change;
    const float move = kNesterov ? velocity * decay - change : velocity;
    weight[i] = MaskedValue(bytes[i], weight[i] + move);
    momentum[i] = velocity;
  }
}

#endif

inline void StepByGradient(const MomentumStep& step, int64_t count, const bool* mask,
                           const float* gradient, float* weight, float* momentum) {
  const auto run = step.use_nesterov ? StepWeights<true> : StepWeights<false>;
  run(step, count, mask, gradient, weight, momentum);
}

#if defined(__AVX512F__)
inline void StepByList(const MomentumStep& step, int64_t count, const uint16_t* bits,
                       const float* list, float* weight, float* momentum, float* values) {
  const auto run = step.use_nesterov ? StepWeightsByList<true> : StepWeightsByList<false>;
  run(step, count, bits, list, weight, momentum, values);
}
#else
constexpr decltype(MomentumKernels::step_by_list) StepByList = nullptr;
#endif

inline const MomentumKernels* MomentumNamed(const char* name) {
  static const MomentumKernels kernels = {name, StepByGradient, StepByList};
  return &kernels;
}

}  // namespace keras_sparse::KERAS_SPARSE_INSTRUCTIONS
