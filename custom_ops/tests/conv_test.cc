// Are the three products those of the reference? Over a grid of shapes, and over random ones.
//
//   sparse_conv2d_test [random cases [seed]]
//
// KERAS_SPARSE_INSTRUCTIONS chooses the loops that are tested. Exit status 1 and the sizes of the
// case on failure.
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <random>
#include <thread>
#include <vector>

#include "custom_ops/contract/conv_reference.h"
#include "custom_ops/contract/product.h"

namespace keras_sparse {
namespace {

// Real threads, one for each part.
Parallel Threads(int threads) {
  Parallel parallel;
  parallel.threads = threads;
  if (threads == 1) return parallel;
  parallel.run = [](int64_t parts, int64_t, const std::function<void(int64_t)>& part) {
    std::vector<std::thread> running;
    for (int64_t i = 0; i < parts; ++i) running.emplace_back(part, i);
    for (std::thread& thread : running) thread.join();
  };
  return parallel;
}

ConvSizes Sizes(int batch, int size, int in_channels, int kernel, int out_channels, int stride,
                bool same) {
  ConvSizes s{};
  s.batch = batch, s.in_height = size, s.in_width = size + 1, s.in_channels = in_channels;
  s.kernel_height = kernel, s.kernel_width = std::max(1, kernel - (size % 2)),
  s.out_channels = out_channels;
  s.stride_height = stride, s.stride_width = std::max(1, stride - (size % 3 == 0));
  const auto output = [same](int64_t in, int64_t k, int64_t step) {
    return same ? (in + step - 1) / step : (in - k) / step + 1;
  };
  s.out_height = output(s.in_height, s.kernel_height, s.stride_height);
  s.out_width = output(s.in_width, s.kernel_width, s.stride_width);
  const auto pad = [same](int64_t in, int64_t out, int64_t k, int64_t step) {
    return same ? std::max<int64_t>(0, (out - 1) * step + k - in) / 2 : 0;
  };
  s.pad_top = pad(s.in_height, s.out_height, s.kernel_height, s.stride_height);
  s.pad_left = pad(s.in_width, s.out_width, s.kernel_width, s.stride_width);
  return s;
}

std::vector<float> Random(int64_t count, std::mt19937& rng) {
  std::normal_distribution<float> normal;
  std::vector<float> values(count);
  for (float& value : values) value = normal(rng);
  return values;
}

bool Equal(const std::vector<float>& result, const std::vector<double>& expected) {
  double largest = 1e-3, difference = 0;
  for (const double value : expected) largest = std::max(largest, std::abs(value));
  for (size_t i = 0; i < expected.size(); ++i)
    difference = std::max(difference, std::abs(result[i] - expected[i]));
  return difference <= 1e-5 * largest;  // false for NaN, too
}

bool Check(const ConvSizes& s, double density, int threads, std::mt19937& rng) {
  std::bernoulli_distribution active(density);
  const auto mask = std::make_unique<bool[]>(s.weights());
  for (int64_t i = 0; i < s.weights(); ++i) mask[i] = active(rng);
  const auto inputs = Random(s.inputs(), rng), kernel = Random(s.weights(), rng),
             gradient = Random(s.outputs(), rng);
  bool all_equal = true;
  for (const Product product :
       {Product::kForward, Product::kInputGradient, Product::kKernelGradient}) {
    const float* first = product == Product::kInputGradient ? gradient.data() : inputs.data();
    const float* second = product == Product::kKernelGradient ? gradient.data() : kernel.data();
    const std::vector<double> expected = reference::Compute(product, s, mask.get(), first, second);
    std::vector<float> result(expected.size(), NAN), again(expected.size(), NAN);
    const auto plan = MakeConvPlan(product, s, mask.get(), threads);
    plan->Run(first, second, result.data(), Threads(threads));
    plan->Run(first, second, again.data(), Threads(threads));
    bool equal = Equal(result, expected) && result == again && plan->Matches(s, mask.get());
    mask[s.weights() - 1] = !mask[s.weights() - 1];
    equal = equal && !plan->Matches(s, mask.get());
    mask[s.weights() - 1] = !mask[s.weights() - 1];
    if (!equal)
      std::printf(
          "product %d: batch %d, %dx%dx%d, kernel %dx%d, %d outputs, stride %dx%d, pad %d %d, "
          "density %g, %d threads\n",
          int(product), int(s.batch), int(s.in_height), int(s.in_width), int(s.in_channels),
          int(s.kernel_height), int(s.kernel_width), int(s.out_channels), int(s.stride_height),
          int(s.stride_width), int(s.pad_top), int(s.pad_left), density, threads);
    all_equal = all_equal && equal;
  }
  return all_equal;
}

int Failures(int random_cases, unsigned seed) {
  std::mt19937 rng(seed);
  int failures = 0;
  for (const int kernel : {1, 2, 3, 5, 7})
    for (const int stride : {1, 2, 3})
      for (const bool same : {true, false})
        for (const int size : {7, 8, 14})
          failures += !Check(Sizes(3, size, 17, kernel, 19, stride, same), 0.2, 1 + size % 3, rng);
  for (const double density : {0.0, 0.001, 0.02, 0.5, 1.0})
    for (const int batch : {1, 16, 33})
      failures += !Check(Sizes(batch, 8, 40, 3, 48, 1, true), density, 2, rng);
  const auto pick = [&rng](int most) { return std::uniform_int_distribution<int>(1, most)(rng); };
  for (int i = 0; i < random_cases; ++i) {
    const int kernel = pick(7);
    const ConvSizes s =
        Sizes(pick(20), kernel + pick(10), pick(40), kernel, pick(40), pick(4), pick(2) == 1);
    failures += !Check(s, std::pow(10.0, -2.5 * pick(100) / 100), pick(4), rng);
  }
  return failures;
}

}  // namespace
}  // namespace keras_sparse

int main(int argc, char** argv) {
  const int random_cases = argc > 1 ? std::atoi(argv[1]) : 100;
  const int failures = keras_sparse::Failures(random_cases, argc > 2 ? std::atoi(argv[2]) : 1);
  std::printf("%s: %d failures\n", keras_sparse::Instructions(), failures);
  return failures == 0 ? 0 : 1;
}
