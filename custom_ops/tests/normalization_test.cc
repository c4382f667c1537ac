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
using tests::RoundingError;
using tests::Threads;
using tests::ToElements;

using Array = std::vector<char>;

bool Near(const float* result, const std::vector<double>& expected, double tolerance) {
  for (size_t i = 0; i < expected.size(); ++i)
    if (!(std::abs(result[i] - expected[i]) <= tolerance * (1 + std::abs(expected[i]))))
      return false;  // false for NaN, too
  return true;
}

bool AreNear(ElementType type, const void* result, const std::vector<double>& expected,
             double tolerance) {
  std::vector<float> values(expected.size());
  for (size_t i = 0; i < values.size(); ++i) values[i] = FloatAt(type, result, i);
  return Near(values.data(), expected, tolerance + RoundingError(type));
}

// The values of a case. All arrays of elements begin `shift` elements behind where they are
// allocated. With a scale of 6, an activation sees values on both sides of 0 and of 6.
struct Values {
  Values(const Normalization& n, int64_t shift, float center, std::mt19937& rng)
      : first(shift * ElementBytes(n.type)),
        scale(Random(n.channels, rng)),
        offset(Random(n.channels, rng)) {
    const int64_t count = n.rows * n.channels + shift;
    auto values = Random(count, rng);
    for (float& x : values) x = std::round(x * 64) / 64 + center;
    inputs = ToElements(n.type, values.data(), count);
    gradient = ToElements(n.type, Random(count, rng).data(), count);
    addend = ToElements(n.type, Random(count, rng).data(), count);
    for (float& x : offset) x = std::round(x * 4) / 4 + 0.1f;
    for (float& x : scale) x = x < -0.5f ? -1.0f : x < 0 ? -6.0f : x < 0.5f ? 6.0f : 1.0f;
  }

  const void* At(const Array& array) const { return array.data() + first; }
  void* At(Array& array) const { return array.data() + first; }

  int64_t first;
  std::vector<float> scale, offset;
  Array inputs, gradient, addend;
};

bool IsAtCorner(Activation activation, double z) {
  return WithActivation(activation, [&](auto kind) {
    return std::abs(kind.Gradient(z - 1e-3, 1.0) - kind.Gradient(z + 1e-3, 1.0)) > 0.5;
  });
}

const char* WrongPart(const NormalizationKernels& k, const Normalization& n, const Values& values,
                      bool adds) {
  const Parallel threads = Threads(2);
  std::vector<float> mean(n.channels), variance(n.channels);
  const void* inputs = values.At(values.inputs);
  BatchMoments(k, n, inputs, mean.data(), variance.data(), threads);
  const auto moments = reference::BatchMoments(n, inputs);
  if (!Near(mean.data(), moments.mean, 1e-6)) return "mean";
  if (!Near(variance.data(), moments.variance, 1e-5)) return "variance";

  const ChannelValues channels = {values.scale.data(), values.offset.data(), mean.data(),
                                  variance.data()};
  auto outputs = values.inputs;  // in place
  BatchNorm(k, n, values.At(outputs), channels, values.At(outputs), threads);
  const auto expected = reference::BatchNorm(n, inputs, channels);
  if (!AreNear(n.type, values.At(outputs), expected, 1e-4)) return "outputs";

  // Where rounding decides what an activation lets through, no gradient arrives.
  auto gradient = values.gradient;
  const auto before = reference::Normal(n, inputs, channels);
  for (size_t i = 0; i < before.size(); ++i)
    if (IsAtCorner(n.activation, before[i])) SetElement(n.type, values.At(gradient), i, 0);

  const void* addend = adds ? values.At(values.addend) : nullptr;
  std::vector<float> by_scale(n.channels), by_offset(n.channels);
  Array by_inputs(outputs.size());
  BatchNormGradient(k, n, values.At(gradient), inputs, channels, addend, values.At(by_inputs),
                    by_scale.data(), by_offset.data(), threads);
  const auto gradients =
      reference::BatchNormGradient(n, values.At(gradient), inputs, channels, addend);
  if (!AreNear(n.type, values.At(by_inputs), gradients.inputs, 1e-4)) return "input gradient";
  if (!Near(by_scale.data(), gradients.scale, 1e-3)) return "scale gradient";
  if (!Near(by_offset.data(), gradients.offset, 1e-4)) return "offset gradient";

  auto own = gradient;  // over the output gradient
  BatchNormGradient(k, n, values.At(own), inputs, channels, addend, values.At(own), by_scale.data(),
                    by_offset.data(), threads);
  return std::equal(own.begin() + values.first, own.end(), by_inputs.begin() + values.first)
             ? nullptr
             : "input gradient in place";
}

int Check(const NormalizationKernels& kernels, const Normalization& n, int64_t shift, float center,
          std::mt19937& rng) {
  const char* wrong = WrongPart(kernels, n, Values(n, shift, center, rng), shift == 0);
  if (wrong == nullptr) return 0;
  std::printf("%s, %s: type %d, %d rows, %d channels, shift %d, center %g, %s\n", kernels.name,
              wrong, int(n.type), int(n.rows), int(n.channels), int(shift), center,
              NameOf(n.activation));
  return 1;
}

int Failures(const NormalizationKernels& kernels, ElementType type) {
  std::mt19937 rng(1);
  int failures = 0;
  for (const int64_t channels : {1, 3, 16, 17, 64, 150})
    for (const int64_t rows : {1, 2, 33, 1501})
      for (const int64_t shift : {0, 1})
        for (const float center : {0.0f, 100.0f})
          for (const Activation activation : kActivations)
            failures +=
                Check(kernels, {rows, channels, 1e-3f, activation, type}, shift, center, rng);
  return failures;
}

// Stored past the caches; rows of which a block has no more than two.
int LargeFailures(const NormalizationKernels& kernels, ElementType type) {
  std::mt19937 rng(1);
  return Check(kernels, {75000, 112, 1e-3f, Activation::kRelu, type}, 0, 0, rng) +
         Check(kernels, {35, 2100, 1e-3f, Activation::kRelu, type}, 0, 0, rng);
}

}  // namespace
}  // namespace keras_sparse

int main() {
  using keras_sparse::NormalizationFor;
  const auto engines = keras_sparse::AvailableKernels();
  int failures = 0;
  for (int i = 0; i < keras_sparse::kElementTypes; ++i) {
    const auto type = static_cast<keras_sparse::ElementType>(i);
    for (const auto* engine : engines)
      failures += keras_sparse::Failures(NormalizationFor(engine->vectors, type), type);
    failures += keras_sparse::LargeFailures(NormalizationFor(engines.back()->vectors, type), type);
  }
  std::printf("%d failures\n", failures);
  return failures == 0 ? 0 : 1;
}
