// Batch normalization by every set of instructions of this machine against the reference.
//
//   normalization_test
//
// Exit status 1 and the case on failure.
#include "custom_ops/contract/normalization.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <random>
#include <vector>

#include "custom_ops/contract/normalization_reference.h"
#include "custom_ops/cpu/normalization_kernels.h"
#include "custom_ops/cpu/plan.h"
#include "custom_ops/tests/helpers.h"

namespace keras_sparse {
namespace {

using tests::Random;
using tests::Threads;

bool Near(const float* result, const std::vector<double>& expected, double tolerance) {
  for (size_t i = 0; i < expected.size(); ++i)
    if (!(std::abs(result[i] - expected[i]) <= tolerance * (1 + std::abs(expected[i]))))
      return false;  // false for NaN, too
  return true;
}

// The values of a case. All arrays of elements begin `shift` floats behind where they are
// allocated; no input is so near to 0 after the normalization that rounding decides the ReLU.
struct Values {
  Values(const Normalization& n, int64_t shift, float center, std::mt19937& rng)
      : shift(shift),
        inputs(Random(n.rows * n.channels + shift, rng)),
        gradient(Random(n.rows * n.channels + shift, rng)),
        addend(Random(n.rows * n.channels + shift, rng)),
        scale(Random(n.channels, rng)),
        offset(Random(n.channels, rng)) {
    for (float& x : inputs) x = std::round(x * 64) / 64 + center;
    for (float& x : offset) x = std::round(x * 4) / 4 + 0.1f;
    for (float& x : scale) x = x < 0 ? -1.0f : 1.0f;
  }

  const float* At(const std::vector<float>& values) const { return values.data() + shift; }

  int64_t shift;
  std::vector<float> inputs, gradient, addend, scale, offset;
};

const char* WrongPart(const NormalizationKernels& k, const Normalization& n, const Values& values,
                      bool adds) {
  const Parallel threads = Threads(2);
  std::vector<float> mean(n.channels), variance(n.channels);
  BatchMoments(k, n, values.At(values.inputs), mean.data(), variance.data(), threads);
  const auto moments = reference::BatchMoments(n, values.At(values.inputs));
  if (!Near(mean.data(), moments.mean, 1e-6)) return "mean";
  if (!Near(variance.data(), moments.variance, 1e-5)) return "variance";

  const ChannelValues channels = {values.scale.data(), values.offset.data(), mean.data(),
                                  variance.data()};
  auto outputs = values.inputs;  // in place
  BatchNorm(k, n, outputs.data() + values.shift, channels, outputs.data() + values.shift, threads);
  const auto expected = reference::BatchNorm(n, values.At(values.inputs), channels);
  if (!Near(outputs.data() + values.shift, expected, 1e-4)) return "outputs";

  // Where rounding decides whether a ReLU lets through, no gradient arrives.
  auto gradient = values.gradient;
  Normalization linear = n;
  linear.relu = false;
  const auto before = reference::BatchNorm(linear, values.At(values.inputs), channels);
  for (size_t i = 0; i < before.size(); ++i)
    if (std::abs(before[i]) < 1e-3) gradient[values.shift + i] = 0;

  const float* addend = adds ? values.At(values.addend) : nullptr;
  std::vector<float> by_scale(n.channels), by_offset(n.channels);
  std::vector<float> by_inputs(outputs.size());
  BatchNormGradient(k, n, gradient.data() + values.shift, values.At(values.inputs), channels,
                    addend, by_inputs.data() + values.shift, by_scale.data(), by_offset.data(),
                    threads);
  const auto gradients = reference::BatchNormGradient(n, gradient.data() + values.shift,
                                                      values.At(values.inputs), channels, addend);
  if (!Near(by_inputs.data() + values.shift, gradients.inputs, 1e-4)) return "input gradient";
  if (!Near(by_scale.data(), gradients.scale, 1e-3)) return "scale gradient";
  if (!Near(by_offset.data(), gradients.offset, 1e-4)) return "offset gradient";

  auto own = gradient;  // over the output gradient
  BatchNormGradient(k, n, own.data() + values.shift, values.At(values.inputs), channels, addend,
                    own.data() + values.shift, by_scale.data(), by_offset.data(), threads);
  return std::equal(own.begin() + values.shift, own.end(), by_inputs.begin() + values.shift)
             ? nullptr
             : "input gradient in place";
}

int Check(const NormalizationKernels& kernels, const Normalization& n, int64_t shift, float center,
          std::mt19937& rng) {
  const char* wrong = WrongPart(kernels, n, Values(n, shift, center, rng), shift == 0);
  if (wrong == nullptr) return 0;
  std::printf("%s, %s: %d rows, %d channels, shift %d, center %g, relu %d\n", kernels.name, wrong,
              int(n.rows), int(n.channels), int(shift), center, n.relu);
  return 1;
}

int Failures(const NormalizationKernels& kernels) {
  std::mt19937 rng(1);
  int failures = 0;
  for (const int64_t channels : {1, 3, 16, 17, 64, 150})
    for (const int64_t rows : {1, 2, 33, 1501})
      for (const int64_t shift : {0, 1})
        for (const float center : {0.0f, 100.0f})
          for (const bool relu : {false, true})
            failures += Check(kernels, {rows, channels, 1e-3f, relu}, shift, center, rng);
  return failures;
}

// Stored past the caches.
int LargeFailures(const NormalizationKernels& kernels) {
  std::mt19937 rng(1);
  return Check(kernels, {37500, 112, 1e-3f, true}, 0, 0, rng);
}

}  // namespace
}  // namespace keras_sparse

int main() {
  int failures = 0;
  for (const auto* kernels : keras_sparse::AvailableKernels())
    failures += keras_sparse::Failures(keras_sparse::NormalizationFor(kernels->name));
  const char* best = keras_sparse::AvailableKernels().back()->name;
  failures += keras_sparse::LargeFailures(keras_sparse::NormalizationFor(best));
  std::printf("%d failures\n", failures);
  return failures == 0 ? 0 : 1;
}
