// The loops of the masked step, compiled once for each set of instructions. Memory sets their pace.
//
// A dense gradient and a list of it give the same bits: one function steps by both. Products are
// rounded before they are added (-ffp-contract=off), so the step has the bits of TensorFlow's own
// operations: an optimizer at density 1 is the inner optimizer.
#pragma once

#include "custom_ops/cpu/step_kernels.h"
#include "custom_ops/cpu/vector.h"

namespace keras_sparse::KERAS_SPARSE_INSTRUCTIONS {

#if defined(__AVX512F__)

// Of 16 weights, or of those in `lanes`: steps the moments from the i-th on, and returns the change
// of the weights.
template <bool kNesterov>
class MomentumRule {
 public:
  explicit MomentumRule(const MomentumStep& step)
      : learning_rate_(_mm512_set1_ps(step.learning_rate)), decay_(_mm512_set1_ps(step.decay)) {}

  KS_INLINE __m512 Change(__mmask16 lanes, __m512 gradient, const Moments& moments,
                          int64_t i) const {
    const __m512 change = _mm512_mul_ps(gradient, learning_rate_);
    const auto faded_less_change = [&](__m512 value) {
      return _mm512_sub_ps(_mm512_mul_ps(value, decay_), change);
    };
    const __m512 velocity = faded_less_change(_mm512_maskz_loadu_ps(lanes, moments.momentum + i));
    _mm512_mask_storeu_ps(moments.momentum + i, lanes, velocity);
    return kNesterov ? faded_less_change(velocity) : velocity;
  }

 private:
  __m512 learning_rate_, decay_;
};

class AdamRule {
 public:
  explicit AdamRule(const AdamStep& step)
      : minus_rate_(_mm512_set1_ps(-step.rate)),
        one_minus_beta_1_(_mm512_set1_ps(step.one_minus_beta_1)),
        one_minus_beta_2_(_mm512_set1_ps(step.one_minus_beta_2)),
        epsilon_(_mm512_set1_ps(step.epsilon)) {}

  KS_INLINE __m512 Change(__mmask16 lanes, __m512 gradient, const Moments& moments,
                          int64_t i) const {
    const auto toward = [=](float* moment, __m512 value, __m512 share) {
      const __m512 old = _mm512_maskz_loadu_ps(lanes, moment + i);
      const __m512 stepped = _mm512_add_ps(old, _mm512_mul_ps(_mm512_sub_ps(value, old), share));
      _mm512_mask_storeu_ps(moment + i, lanes, stepped);
      return stepped;
    };
    const __m512 momentum = toward(moments.momentum, gradient, one_minus_beta_1_);
    const __m512 velocity =
        toward(moments.velocity, _mm512_mul_ps(gradient, gradient), one_minus_beta_2_);
    return _mm512_div_ps(_mm512_mul_ps(momentum, minus_rate_),
                         _mm512_add_ps(_mm512_sqrt_ps(velocity), epsilon_));
  }

 private:
  __m512 minus_rate_, one_minus_beta_1_, one_minus_beta_2_, epsilon_;
};

// Calls next(lanes, i) for the weights from i on; it returns their mask and their gradient. Then
// calls stepped(active, weights).
struct ActiveAndGradient {
  __mmask16 active;
  __m512 gradient;
};

template <class Rule, class Next, class Stepped>
KS_INLINE void StepAll(const Rule& rule, int64_t count, float* weight, const Moments& moments,
                       Next next, Stepped stepped) {
  const auto step = [&](__mmask16 lanes, int64_t i) {
    const ActiveAndGradient now = next(lanes, i);
    const __m512 change = rule.Change(lanes, now.gradient, moments, i);
    const __m512 moved =
        _mm512_maskz_add_ps(now.active, _mm512_maskz_loadu_ps(lanes, weight + i), change);
    _mm512_mask_storeu_ps(weight + i, lanes, moved);
    stepped(now.active, moved);
  };
  int64_t i = 0;
  for (; i + 16 <= count; i += 16) step(0xffff, i);
  if (i < count) step(static_cast<__mmask16>((1u << (count - i)) - 1), i);
}

template <class Rule, class Step>
void StepWeights(const Step& step, int64_t count, const bool* mask, const float* gradient,
                 float* weight, Moments moments) {
  const auto next = [=](__mmask16 lanes, int64_t i) {
    const __m128i bytes = _mm_maskz_loadu_epi8(lanes, mask + i);
    return ActiveAndGradient{_mm_test_epi8_mask(bytes, bytes),
                             _mm512_maskz_loadu_ps(lanes, gradient + i)};
  };
  StepAll(Rule(step), count, weight, moments, next, [](__mmask16, __m512) {});
}

// A register is compressed and then stored: the instruction that does both in memory is slow on
// some processors.
KS_INLINE void StoreActive(__mmask16 active, __m512 weights, float** values) {
  const int count = __builtin_popcount(active);
  const __mmask16 first = static_cast<__mmask16>((1u << count) - 1);
  _mm512_mask_storeu_ps(*values, first, _mm512_maskz_compress_ps(active, weights));
  *values += count;
}

template <class Rule, class Step>
void StepWeightsByList(const Step& step, int64_t count, const uint16_t* bits, const float* list,
                       float* weight, Moments moments, float* values) {
  const auto next = [&list, bits](__mmask16, int64_t i) {
    const __mmask16 active = bits[i / 16];
    const __m512 gradient = _mm512_maskz_expandloadu_ps(active, list);
    list += __builtin_popcount(active);
    return ActiveAndGradient{active, gradient};
  };
  const Rule rule(step);
  if (values == nullptr)
    return StepAll(rule, count, weight, moments, next, [](__mmask16, __m512) {});
  StepAll(rule, count, weight, moments, next,
          [&values](__mmask16 active, __m512 weights) { StoreActive(active, weights, &values); });
}

#else

// Of the i-th weight: steps its moments, and returns its change.
template <bool kNesterov>
struct MomentumRule {
  explicit MomentumRule(const MomentumStep& step) : step(step) {}

  KS_INLINE float Change(float gradient, float* momentum, float*, int64_t i) const {
    const float change = gradient * step.learning_rate;
    const float velocity = momentum[i] * step.decay - change;
    momentum[i] = velocity;
    return kNesterov ? velocity * step.decay - change : velocity;
  }

  const MomentumStep step;
};

struct AdamRule {
  explicit AdamRule(const AdamStep& step) : step(step) {}

  KS_INLINE float Change(float gradient, float* momentum, float* velocity, int64_t i) const {
    momentum[i] += (gradient - momentum[i]) * step.one_minus_beta_1;
    velocity[i] += (gradient * gradient - velocity[i]) * step.one_minus_beta_2;
    return momentum[i] * -step.rate / (__builtin_sqrtf(velocity[i]) + step.epsilon);
  }

  const AdamStep step;
};

// Without a branch, or it is no vector's: the bits of the value, or none.
KS_INLINE float MaskedValue(unsigned char active, float value) {
  uint32_t bits;
  std::memcpy(&bits, &value, sizeof bits);
  bits &= active != 0 ? ~uint32_t{0} : 0;
  std::memcpy(&value, &bits, sizeof bits);
  return value;
}

template <class Rule, class Step>
void StepWeights(const Step& step, int64_t count, const bool* mask,
                 const float* __restrict gradient, float* __restrict weight, Moments moments) {
  const auto* __restrict bytes = reinterpret_cast<const unsigned char*>(mask);
  float* __restrict momentum = moments.momentum, * __restrict velocity = moments.velocity;
  const Rule rule(step);
  for (int64_t i = 0; i < count; ++i) {
    const float change = rule.Change(gradient[i], momentum, velocity, i);
    weight[i] = MaskedValue(bytes[i], weight[i] + change);
  }
}

#endif

// Those of a rule.
template <class Rule, class Step>
constexpr StepLoops<Step> LoopsOf() {
#if defined(__AVX512F__)
  return {StepWeights<Rule, Step>, StepWeightsByList<Rule, Step>};
#else
  return {StepWeights<Rule, Step>, nullptr};
#endif
}

inline void MomentumByGradient(const MomentumStep& step, int64_t count, const bool* mask,
                               const float* gradient, float* weight, Moments moments) {
  const auto loops = step.use_nesterov ? LoopsOf<MomentumRule<true>, MomentumStep>()
                                       : LoopsOf<MomentumRule<false>, MomentumStep>();
  loops.by_gradient(step, count, mask, gradient, weight, moments);
}

#if defined(__AVX512F__)
inline void MomentumByList(const MomentumStep& step, int64_t count, const uint16_t* bits,
                           const float* list, float* weight, Moments moments, float* values) {
  const auto loops = step.use_nesterov ? LoopsOf<MomentumRule<true>, MomentumStep>()
                                       : LoopsOf<MomentumRule<false>, MomentumStep>();
  loops.by_list(step, count, bits, list, weight, moments, values);
}
#else
constexpr decltype(StepLoops<MomentumStep>::by_list) MomentumByList = nullptr;
#endif

inline const StepKernels* StepNamed(const char* name) {
  static const StepKernels kernels = {
      name, {MomentumByGradient, MomentumByList}, LoopsOf<AdamRule, AdamStep>()};
  return &kernels;
}

}  // namespace keras_sparse::KERAS_SPARSE_INSTRUCTIONS
