// The step of masked weights against the reference.
//
//   masked_momentum_test
//
// Exit status 1 and the case on failure.
#include <cmath>
#include <cstdio>
#include <memory>
#include <random>
#include <vector>

#include "custom_ops/contract/masked_momentum.h"
#include "custom_ops/contract/momentum_reference.h"
#include "custom_ops/tests/helpers.h"

namespace keras_sparse {
namespace {

using tests::Random;
using tests::Threads;

bool Equal(const float* result, const std::vector<double>& expected) {
  for (size_t i = 0; i < expected.size(); ++i)
    if (!(std::abs(result[i] - expected[i]) <= 1e-5)) return false;  // false for NaN, too
  return true;
}

// All arrays begin `shift` elements behind where they are allocated.
bool Check(const MomentumStep& step, int64_t count, int64_t shift, double density,
           std::mt19937& rng) {
  std::bernoulli_distribution active(density);
  const auto mask = std::make_unique<bool[]>(count + shift);
  for (int64_t i = 0; i < count; ++i) mask[shift + i] = active(rng);
  const auto gradient = Random(count + shift, rng);
  auto weight = Random(count + shift, rng), momentum = Random(count + shift, rng);
  std::vector<double> weights(weight.begin() + shift, weight.end()),
      momenta(momentum.begin() + shift, momentum.end());
  reference::ApplyMaskedMomentum(step, mask.get() + shift, gradient.data() + shift, weights,
                                 momenta);
  ApplyMaskedMomentum(step, count, mask.get() + shift, gradient.data() + shift,
                      weight.data() + shift, momentum.data() + shift, Threads(2));
  bool equal = Equal(weight.data() + shift, weights) && Equal(momentum.data() + shift, momenta);
  for (int64_t i = 0; i < count; ++i)
    equal &= mask[shift + i] || (weight[shift + i] == 0 && !std::signbit(weight[shift + i]));
  if (!equal)
    std::printf("%d weights, shift %d, density %g, nesterov %d\n", int(count), int(shift), density,
                step.use_nesterov);
  return equal;
}

int Failures() {
  std::mt19937 rng(1);
  int failures = 0;
  for (const bool nesterov : {false, true})
    for (const int64_t count : {0, 1, 15, 16, 17, 1000, 65536, 200003})
      for (const int64_t shift : {0, 1, 7})
        for (const double density : {0.0, 0.05, 0.5, 1.0})
          failures += !Check({0.1f, 0.9f, nesterov}, count, shift, density, rng);
  return failures;
}

}  // namespace
}  // namespace keras_sparse

int main() {
  const int failures = keras_sparse::Failures();
  std::printf("%d failures\n", failures);
  return failures == 0 ? 0 : 1;
}
