// The step of masked weights against the reference.
//
//   step_test
//
// Exit status 1 and the case on failure.
#include <cmath>
#include <cstdio>
#include <cstring>
#include <memory>
#include <random>
#include <vector>

#include "custom_ops/contract/step_reference.h"
#include "custom_ops/cpu/plan.h"
#include "custom_ops/cpu/step_kernels.h"
#include "custom_ops/tests/helpers.h"

namespace keras_sparse {
namespace {

using tests::Random;
using tests::Threads;

constexpr MomentumStep kMomentum = {0.1f, 0.9f, false}, kNesterov = {0.1f, 0.9f, true};
constexpr AdamStep kAdam = {0.05f, 0.1f, 0.001f, 1e-7f};

// A weight and what the optimizer keeps of it; all begin `shift` elements behind where they are
// allocated.
class Variables {
 public:
  Variables(int64_t count, int64_t shift, std::mt19937& rng)
      : shift_(shift),
        values_{Random(count + shift, rng), Random(count + shift, rng),
                Random(count + shift, rng)} {
    for (float& velocity : values_[2]) velocity = velocity * velocity + 0.01f;  // no step is huge
  }

  float* weight() { return values_[0].data() + shift_; }
  Moments moments() { return {values_[1].data() + shift_, values_[2].data() + shift_}; }

  std::vector<double> Doubles(int i) const {
    return {values_[i].begin() + shift_, values_[i].end()};
  }

  bool HasBitsOf(const Variables& other) const {
    for (int i = 0; i < 3; ++i)
      if (!values_[i].empty() && std::memcmp(values_[i].data(), other.values_[i].data(),
                                             values_[i].size() * sizeof(float)) != 0)
        return false;
    return true;
  }

 private:
  int64_t shift_;
  std::vector<float> values_[3];
};

bool Equal(const float* result, const std::vector<double>& expected) {
  for (size_t i = 0; i < expected.size(); ++i)
    if (!(std::abs(result[i] - expected[i]) <= 1e-5)) return false;  // false for NaN, too
  return true;
}

// As with the gradients of the active weights alone: the bits of the same step with zeros between.
template <class Step>
bool CheckList(const StepKernels& kernels, const Step& step, int64_t count, const bool* mask,
               const float* gradient, const Variables& variables) {
  std::vector<float> dense(count), list, expected;
  for (int64_t i = 0; i < count; ++i)
    if (mask[i]) list.push_back(dense[i] = gradient[i]);
  Variables one = variables, other = variables, unlisted = variables;
  ApplyMaskedStep(kernels, step, count, mask, dense.data(), one.weight(), one.moments(),
                  Threads(2));
  const auto places = MakeActivePlaces(kernels, mask, count);
  std::vector<float> values(list.size(), NAN);
  places->ApplyMaskedStep(step, mask, list.data(), other.weight(), other.moments(), values.data(),
                          Threads(2));
  places->ApplyMaskedStep(step, mask, list.data(), unlisted.weight(), unlisted.moments(), nullptr,
                          Threads(2));
  for (int64_t i = 0; i < count; ++i)
    if (mask[i]) expected.push_back(other.weight()[i]);
  return places->active() == static_cast<int64_t>(list.size()) && values == expected &&
         unlisted.HasBitsOf(other) && one.HasBitsOf(other);
}

template <class Step>
bool Check(const StepKernels& kernels, const char* name, const Step& step, int64_t count,
           int64_t shift, double density, std::mt19937& rng) {
  std::bernoulli_distribution active(density);
  const auto all = std::make_unique<bool[]>(count + shift);
  bool* const mask = all.get() + shift;
  for (int64_t i = 0; i < count; ++i) mask[i] = active(rng);
  const auto gradient = Random(count + shift, rng);
  Variables variables(count, shift, rng);
  std::vector<double> weight = variables.Doubles(0);
  reference::MomentsOfDoubles moments = {variables.Doubles(1), variables.Doubles(2)};
  bool equal = CheckList(kernels, step, count, mask, gradient.data() + shift, variables);
  reference::ApplyMaskedStep(step, mask, gradient.data() + shift, weight, moments);
  ApplyMaskedStep(kernels, step, count, mask, gradient.data() + shift, variables.weight(),
                  variables.moments(), Threads(2));
  equal &= Equal(variables.weight(), weight) &&
           Equal(variables.moments().momentum, moments.momentum) &&
           Equal(variables.moments().velocity, moments.velocity);
  for (int64_t i = 0; i < count; ++i)
    equal &= mask[i] || (variables.weight()[i] == 0 && !std::signbit(variables.weight()[i]));
  if (!equal)
    std::printf("%s: %s, %d weights, shift %d, density %g\n", kernels.name, name, int(count),
                int(shift), density);
  return equal;
}

int Failures(const StepKernels& kernels) {
  std::mt19937 rng(1);
  int failures = 0;
  for (const int64_t count : {0, 1, 15, 16, 17, 1000, 65536, 200003})
    for (const int64_t shift : {0, 1, 7})
      for (const double density : {0.0, 0.05, 0.5, 1.0}) {
        failures += !Check(kernels, "SGD", kMomentum, count, shift, density, rng);
        failures += !Check(kernels, "SGD by Nesterov", kNesterov, count, shift, density, rng);
        failures += !Check(kernels, "Adam", kAdam, count, shift, density, rng);
      }
  return failures;
}

}  // namespace
}  // namespace keras_sparse

int main() {
  int failures = 0;
  for (const auto* engine : keras_sparse::AvailableKernels())
    failures += keras_sparse::Failures(keras_sparse::StepFor(engine->vectors));
  std::printf("%d failures\n", failures);
  return failures == 0 ? 0 : 1;
}
