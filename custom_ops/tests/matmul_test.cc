// Are matrix products, run as convolutions with one tap, those of the reference?
//
//   sparse_matmul_test
//
// KERAS_SPARSE_INSTRUCTIONS chooses the loops that are tested. Exit status 1 and the sizes of the
// case on failure.
#include "custom_ops/contract/matmul.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <random>
#include <thread>
#include <vector>

#include "custom_ops/contract/matmul_reference.h"

namespace keras_sparse {
namespace {

constexpr int kThreads = 2;

Parallel Threads() {
  Parallel parallel;
  parallel.threads = kThreads;
  parallel.run = [](int64_t parts, int64_t, const std::function<void(int64_t)>& part) {
    std::vector<std::thread> running;
    for (int64_t i = 0; i < parts; ++i) running.emplace_back(part, i);
    for (std::thread& thread : running) thread.join();
  };
  return parallel;
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

bool Check(int64_t rows, int64_t in, int64_t out, double density, std::mt19937& rng) {
  std::bernoulli_distribution active(density);
  const auto mask = std::make_unique<bool[]>(in * out);
  for (int64_t i = 0; i < in * out; ++i) mask[i] = active(rng);
  const auto inputs = Random(rows * in, rng), kernel = Random(in * out, rng),
             gradient = Random(rows * out, rng);
  bool all_equal = true;
  for (const Product product :
       {Product::kForward, Product::kInputGradient, Product::kKernelGradient}) {
    const float* first = product == Product::kInputGradient ? gradient.data() : inputs.data();
    const float* second = product == Product::kKernelGradient ? gradient.data() : kernel.data();
    const std::vector<double> expected =
        reference::MatMul(product, rows, in, out, mask.get(), first, second);
    std::vector<float> result(expected.size(), NAN);
    const auto plan = MakeConvPlan(product, MatMulSizes(rows, in, out), mask.get(), kThreads);
    plan->Run(first, second, result.data(), Threads());
    const bool equal = Equal(result, expected);
    if (!equal)
      std::printf("product %d: %d rows, %d -> %d, density %g\n", int(product), int(rows), int(in),
                  int(out), density);
    all_equal = all_equal && equal;
  }
  return all_equal;
}

int Failures() {
  std::mt19937 rng(1);
  int failures = 0;
  for (const int64_t rows : {1, 2, 15, 16, 17, 100, 257})
    for (const int64_t in : {1, 16, 70})
      for (const int64_t out : {1, 15, 33, 128})
        for (const double density : {0.0, 0.05, 0.3, 1.0})
          failures += !Check(rows, in, out, density, rng);
  return failures;
}

}  // namespace
}  // namespace keras_sparse

int main() {
  const int failures = keras_sparse::Failures();
  std::printf("%s: %d failures\n", keras_sparse::Instructions(), failures);
  return failures == 0 ? 0 : 1;
}
