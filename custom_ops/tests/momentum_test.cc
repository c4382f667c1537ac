// The step of masked weights against the reference.
//
//   masked_momentum_test
//
// Exit status 1 and the case on failure.
#include <cmath>
#include <cstdio>
#include <cstring>
#include <memory>
#include <random>
#include <vector>

#include "custom_ops/contract/momentum_reference.h"
#include "custom_ops/cpu/momentum_kernels.h"
#include "custom_ops/cpu/plan.h"
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

// As with the gradients of the active weights alone: the bits of the same step with zeros between.
bool CheckList(const MomentumKernels& kernels, const MomentumStep& step, int64_t count,
               const bool* mask, const float* gradient, const std::vector<float>& weight,
               const std::vector<float>& momentum) {
  std::vector<float> dense(count), list;
  for (int64_t i = 0; i < count; ++i)
    if (mask[i]) list.push_back(dense[i] = gradient[i]);
  std::vector<float> one[] = {weight, momentum}, other[] = {weight, momentum};
  const int64_t shift = static_cast<int64_t>(weight.size()) - count;
  ApplyMaskedMomentum(kernels, step, count, mask, dense.data(), one[0].data() + shift,
                      one[1].data() + shift, Threads(2));
  const auto places = MakeActivePlaces(kernels, mask, count);
  std::vector<float> values(list.size(), NAN), expected, unlisted[] = {weight, momentum};
  places->ApplyMaskedMomentum(step, mask, list.data(), other[0].data() + shift,
                              other[1].data() + shift, values.data(), Threads(2));
  places->ApplyMaskedMomentum(step, mask, list.data(), unlisted[0].data() + shift,
                              unlisted[1].data() + shift, nullptr, Threads(2));
  for (int64_t i = 0; i < count; ++i)
    if (mask[i]) expected.push_back(other[0][shift + i]);
  bool equal = places->active() == static_cast<int64_t>(list.size());
  equal &= values == expected && unlisted[0] == other[0] && unlisted[1] == other[1];
  for (int i = 0; i < 2 && count > 0; ++i)
    equal &= std::memcmp(one[i].data(), other[i].data(), one[i].size() * sizeof(float)) == 0;
  return equal;
}

// All arrays begin `shift` elements behind where they are allocated.
bool Check(const MomentumKernels& kernels, const MomentumStep& step, int64_t count, int64_t shift,
           double density, std::mt19937& rng) {
  std::bernoulli_distribution active(density);
  const auto mask = std::make_unique<bool[]>(count + shift);
  for (int64_t i = 0; i < count; ++i) mask[shift + i] = active(rng);
  const auto gradient = Random(count + shift, rng);
  auto weight = Random(count + shift, rng), momentum = Random(count + shift, rng);
  std::vector<double> weights(weight.begin() + shift, weight.end()),
      momenta(momentum.begin() + shift, momentum.end());
  const bool list_is_right = CheckList(kernels, step, count, mask.get() + shift,
                                       gradient.data() + shift, weight, momentum);
  reference::ApplyMaskedMomentum(step, mask.get() + shift, gradient.data() + shift, weights,
                                 momenta);
  ApplyMaskedMomentum(kernels, step, count, mask.get() + shift, gradient.data() + shift,
                      weight.data() + shift, momentum.data() + shift, Threads(2));
  bool equal = Equal(weight.data() + shift, weights) && Equal(momentum.data() + shift, momenta);
  for (int64_t i = 0; i < count; ++i)
    equal &= mask[shift + i] || (weight[shift + i] == 0 && !std::signbit(weight[shift + i]));
  equal &= list_is_right;
  if (!equal)
    std::printf("%s: %d weights, shift %d, density %g, nesterov %d\n", kernels.name, int(count),
                int(shift), density, step.use_nesterov);
  return equal;
}

int Failures(const MomentumKernels& kernels) {
  std::mt19937 rng(1);
  int failures = 0;
  for (const bool nesterov : {false, true})
    for (const int64_t count : {0, 1, 15, 16, 17, 1000, 65536, 200003})
      for (const int64_t shift : {0, 1, 7})
        for (const double density : {0.0, 0.05, 0.5, 1.0})
          failures += !Check(kernels, {0.1f, 0.9f, nesterov}, count, shift, density, rng);
  return failures;
}

}  // namespace
}  // namespace keras_sparse

int main() {
  int failures = 0;
  for (const auto* engine : keras_sparse::AvailableKernels())
    failures += keras_sparse::Failures(keras_sparse::MomentumFor(engine->vectors));
  std::printf("%d failures\n", failures);
  return failures == 0 ? 0 : 1;
}
