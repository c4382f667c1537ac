// What is checked of one case: every engine of this machine against the reference.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>
#include <memory>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "custom_ops/contract/conv_reference.h"
#include "custom_ops/contract/matmul.h"
#include "custom_ops/contract/matmul_reference.h"
#include "custom_ops/contract/window.h"
#include "custom_ops/cpu/active_blocks.h"
#include "custom_ops/tests/engines.h"
#include "custom_ops/tests/helpers.h"
#include "custom_ops/tests/operands.h"

namespace keras_sparse::tests {

constexpr Product kProducts[] = {Product::kForward, Product::kInputGradient,
                                 Product::kKernelGradient};
#define KS_ENUMERATOR(NAME) ElementType::k##NAME,
constexpr ElementType kTypes[] = {KS_ELEMENT_TYPES(KS_ENUMERATOR)};
#undef KS_ENUMERATOR
constexpr int kOneOf = 4;  // a slow engine takes one in this number of cases of a large grid

class Grid {
 public:
  explicit Grid(unsigned seed) : rng_(seed), engines_(AllEngines()) {}

  // `is_large`: slow engines take one of several cases, and those of 16 bits half as many.
  void Check(const Convolution& c, MaskStructure structure, double density, int threads,
             bool is_large) {
    Check(c, RandomMask(c.sizes, structure, density, rng_), density, threads, is_large);
  }

  void Check(const Convolution& c, Mask mask, double density, int threads, bool is_large) {
    const bool for_slow = !is_large || ++large_cases_ % kOneOf == 0;
    Operands operands(c.sizes, std::move(mask), rng_);
    Check(c, operands, density, threads, for_slow);
    for (const ElementType type : {ElementType::kFloat16, ElementType::kBFloat16}) {
      if (is_large && large_cases_ % (2 * kOneOf) != static_cast<int>(type)) continue;
      Convolution typed = c;
      typed.type = type;
      operands.RoundTo(type);
      Check(typed, operands, density, threads, for_slow);
    }
  }

  void Check(const Convolution& c, const Operands& operands, double density, int threads,
             bool for_slow) {
    for (const Product product : kProducts) {
      const Call call = operands.CallOf(product, c, threads);
      const auto expected =
          reference::Compute(product, c, operands.mask.get(), call.first, call.second);
      for (const Engine& engine : engines_) {
        if ((engine.is_slow && !for_slow) || engine.why_not(product, c) != nullptr) continue;
        ++runs_[engine.name + NameOf(c.type)];
        const auto result = engine.run(call, kFirstGarbage), again = engine.run(call, 0x3f);
        const bool is_right = Close(c.type, result, expected);
        const bool is_same = SameBits(result, again);
        Expect(is_right && is_same, is_right ? "not the same twice" : "wrong", engine.name, call,
               density);
      }
      if (product == Product::kKernelGradient) CheckBoth(operands, c, expected, density, threads);
      if (c.type != ElementType::kFloat32) continue;
      CheckPlan(call, density);
      if (for_slow && WhyNotOnCudaCores(product, c) == nullptr && !c.IsEmpty())
        Expect(CudaListsAreRight(product, c, operands.mask), "lists", "CUDA", call, density);
    }
  }

  void CheckMatMul(int64_t rows, int64_t in, int64_t out, double density) {
    const Convolution c = {MatMulSizes(rows, in, out)};
    Check(c, MaskStructure::Weights(), density, 2, true);
    const Operands operands(c.sizes, RandomMask(c.sizes, MaskStructure::Weights(), density, rng_),
                            rng_);
    for (const Product product : kProducts) {  // one reference is tested against the other
      const Call call = operands.CallOf(product, c, 1);
      const bool equal =
          reference::Compute(product, c, call.mask, call.first, call.second) ==
          reference::MatMul(product, rows, in, out, call.mask, call.first, call.second);
      Expect(equal, "another reference", "reference", call, density);
    }
  }

  // Masks of blocks run the loops over blocks; with one weight more or less they do not.
  void CheckBlocks(const Convolution& c, BlockShape block, double density, int threads) {
    Mask mask = RandomBlocks(c.sizes, block, density, rng_);
    Expect(FindBlocks({mask.get(), c.sizes.weights()}, c.sizes).has_value(), "no blocks", "mask",
           {Product::kForward, c, nullptr, nullptr, nullptr, 1}, density);
    Check(c, std::move(mask), density, threads, true);
    mask = RandomBlocks(c.sizes, block, density, rng_);
    mask[0] = !mask[0];
    Expect(!FindBlocks({mask.get(), c.sizes.weights()}, c.sizes).has_value(), "blocks in part",
           "mask", {Product::kForward, c, nullptr, nullptr, nullptr, 1}, density);
    Check(c, std::move(mask), density, threads, true);
  }

  void CheckRandom() {
    const auto pick = [this](int64_t most) {
      return std::uniform_int_distribution<int64_t>(1, most)(rng_);
    };
    const Pixels kernel = pick(2) == 1 ? Pixels{3, 3} : Pixels{pick(7), pick(7)};
    const Pixels stride = pick(2) == 1 ? Pixels{1, 1} : Pixels{pick(4), pick(4)};
    const Pixels dilation = pick(3) == 1 ? Pixels{pick(3), pick(3)} : Pixels{1, 1};
    const Pixels image = {Span(kernel.height, dilation.height) + pick(10),
                          Span(kernel.width, dilation.width) + pick(10)};
    const Convolution c = MakeConvolution(pick(20), image, pick(40), kernel, pick(40), stride,
                                          pick(2) == 1, dilation);
    const double density = std::pow(10.0, -2.5 * pick(100) / 100);
    const int threads = static_cast<int>(pick(4));
    if (pick(2) == 1) {
      const BlockShape block = {int64_t{1} << (pick(5) - 1), int64_t{1} << (pick(5) - 1),
                                pick(2) == 1};
      Check(c, RandomBlocks(c.sizes, block, density, rng_), density, threads, true);
    } else {
      Check(c, pick(2) == 1 ? MaskStructure::Weights() : MaskStructure::ChannelPairs(), density,
            threads, true);
    }
  }

  // Each value of a type times a weight, alone: pixels of one row, and a diagonal kernel. To the
  // bit, infinities and the smallest numbers included; of a NaN that it is one.
  void CheckEachValue(ElementType type) {
    constexpr int64_t kSide = 256, kValues = kSide * kSide;
    Convolution c = {MatMulSizes(kSide, kSide, kSide)};
    c.type = type;
    const Mask mask = std::make_unique<bool[]>(kValues);
    std::vector<uint16_t> values(kValues), kernel(kValues), result(kValues);
    for (int64_t i = 0; i < kValues; ++i) values[i] = static_cast<uint16_t>(i);
    for (int64_t i = 0; i < kSide; ++i) {
      mask[i * kSide + i] = true;
      SetElement(type, kernel.data(), i * kSide + i, 1 + std::ldexp(float(i), i % 2 ? -10 : -20));
    }
    for (const Kernels* kernels : AvailableKernels()) {
      MakeCpuPlan(Product::kForward, c, mask.get(), 1, *kernels)
          ->Run(values.data(), kernel.data(), result.data(), Threads(1));
      int wrong = 0;
      for (int64_t i = 0; i < kValues; ++i) {
        const float value = FloatAt(type, values.data(), i);
        const float product = value * FloatAt(type, kernel.data(), i % kSide * (kSide + 1)) + 0.0f;
        uint16_t expected;
        SetElement(type, &expected, 0, product);
        wrong += std::isnan(product) ? !std::isnan(FloatAt(type, result.data(), i))
                                     : result[i] != expected;
      }
      Expect(wrong == 0, "not the value", std::string(kernels->name) + NameOf(type),
             {Product::kForward, c, nullptr, nullptr, nullptr, 1}, wrong);
    }
  }

  // What an engine refuses it says of an argument.
  void CheckRefusal(const Convolution& c) {
    for (const Engine& engine : engines_)
      for (const Product product : kProducts) {
        const char* why = engine.why_not(product, c);
        const bool names_argument =
            why != nullptr && why[0] == '`' && std::strstr(why, "` must ") != nullptr;
        Expect(names_argument, "not refused", engine.name,
               {product, c, nullptr, nullptr, nullptr, 1}, 0);
      }
  }

  // Every engine ran; how many checks failed.
  int Failures() {
    for (const Engine& engine : engines_)
      for (const ElementType type : kTypes) {
        const std::string name = engine.name + NameOf(type);
        const bool is_computed = !engine.is_slow || type == ElementType::kFloat32;
        if (is_computed) std::printf("%s: %d products\n", name.c_str(), runs_[name]);
        failures_ += is_computed && runs_[name] == 0;
      }
    std::printf("%s: %d\n", kBoth, runs_[kBoth]);
    return failures_ + (runs_[kBoth] == 0);
  }

 private:
  static constexpr const char* kBoth = "both gradients by one pass";

  // A plan may write over its own result.
  void CheckPlan(const Call& call, double density) {
    const int64_t weights = call.convolution.sizes.weights();
    if (weights == 0) return;
    const auto plan = MakeConvPlan(call.product, call.convolution, call.mask, 1);
    std::vector<float> result = Poisoned(call);
    plan->Run(call.first, call.second, result.data(), Threads(1));
    const std::vector<float> once = result;
    plan->Run(call.first, call.second, result.data(), Threads(1), true);
    const bool is_same = SameBits(result, once);
    Expect(is_same, "not the same over its own result", "plan", call, density);
    if (plan->KeptValues() == 0) return;
    std::vector<float> values(plan->KeptValues(), NAN), from_values = Poisoned(call);
    plan->ReadValues(call.second, values.data(), Threads(1));
    plan->RunWithValues(call.first, values.data(), from_values.data(), {}, Threads(call.threads));
    Expect(SameBits(from_values, once), "another result of kept values", "plan", call, density);
    if (!plan->HasEpilogue() || call.convolution.type != ElementType::kFloat32) return;
    if (call.product == Product::kForward) CheckEpilogue(*plan, call, values, once, density);
    CheckAddend(*plan, call, values, once, density);
  }

  // A bias and bounds, which are reached on both sides.
  void CheckEpilogue(const ConvPlan& plan, const Call& call, const std::vector<float>& values,
                     const std::vector<float>& sums, double density) {
    const int64_t channels = call.convolution.sizes.out_channels;
    std::vector<float> bias(channels), found = Poisoned(call), expected = sums;
    for (int64_t i = 0; i < channels; ++i) bias[i] = 0.125f * static_cast<float>(i % 5 - 2);
    const Epilogue epilogue = {bias.data(), 0, 0.5f};
    plan.RunWithValues(call.first, values.data(), found.data(), epilogue, Threads(call.threads));
    for (size_t i = 0; i < expected.size(); ++i)
      expected[i] = std::min(std::max(expected[i] + bias[i % channels], 0.0f), 0.5f);
    Expect(SameBits(found, expected), "another result of an epilogue", "plan", call, density);
  }

  // What is added: the result itself, in place of other values.
  void CheckAddend(const ConvPlan& plan, const Call& call, const std::vector<float>& values,
                   const std::vector<float>& sums, double density) {
    std::vector<float> found = Poisoned(call), expected = sums;
    Epilogue epilogue;
    epilogue.addend = sums.data();
    plan.RunWithValues(call.first, values.data(), found.data(), epilogue, Threads(call.threads));
    for (float& sum : expected) sum += sum;
    Expect(SameBits(found, expected), "another sum", "plan", call, density);
  }

  // Both gradients by one pass: the input gradient has the bits of its own product. The second run
  // writes over the results of the first one, and takes the values that a product shares. The third
  // one writes a list, and the last one adds the input gradient to itself.
  void CheckBoth(const Operands& operands, const Convolution& c,
                 const std::vector<double>& expected, double density, int threads) {
    const Call call = operands.CallOf(Product::kInputGradient, c, threads);
    const auto elements = [&c](const std::vector<float>& values) {
      return ToElements(c.type, values.data(), values.size());
    };
    const auto inputs = elements(operands.inputs), kernel = elements(operands.kernel),
               gradient = elements(operands.gradient);
    std::vector<float> shared;
    for (int64_t i = 0; i < c.sizes.weights(); ++i)
      if (call.mask[i]) shared.push_back(operands.kernel[i]);
    for (const Kernels* kernels : AvailableKernels()) {
      const auto plan = MakeCpuPlan(call.product, c, call.mask, threads, *kernels);
      if (!plan->GainsByBoth()) continue;
      ++runs_[kBoth];
      auto alone = elements(Poisoned(call)), by_inputs = alone;
      plan->Run(gradient.data(), kernel.data(), alone.data(), Threads(threads));
      auto by_kernel = elements(std::vector<float>(c.sizes.weights(), NAN));
      auto list = elements(std::vector<float>(shared.size(), NAN));
      const void* addend = nullptr;
      const auto run = [&](const float* values, bool is_own, bool as_list) {
        std::vector<char>& result = as_list ? list : by_kernel;
        plan->RunBoth({gradient.data(), kernel.data(), values, inputs.data(), by_inputs.data(),
                       result.data(), is_own, as_list, addend},
                      Threads(threads));
        return result;
      };
      const auto first = run(nullptr, false, false);
      const bool is_right = Close(c.type, ToFloats(c.type, first), expected) && by_inputs == alone;
      const float* values = plan->SharedValues() > 0 ? shared.data() : nullptr;
      const bool is_same = run(values, true, false) == first && by_inputs == alone &&
                           Expanded(call, run(nullptr, false, true)) == first;
      Expect(is_right && is_same, is_right ? "not the same twice" : "wrong both gradients",
             kernels->name, call, density);
      std::vector<float> sums = ToFloats(c.type, alone);
      for (float& sum : sums) sum += sum;
      addend = alone.data();
      const bool is_sum = run(nullptr, false, false) == first && by_inputs == elements(sums);
      Expect(is_sum, "another sum beside both gradients", kernels->name, call, density);
    }
  }

  void Expect(bool holds, const char* what, const std::string& engine, const Call& call,
              double density) {
    if (holds) return;
    ++failures_;
    const Convolution& c = call.convolution;
    const ConvSizes& s = c.sizes;
    std::printf(
        "%s: %s, product %d: batch %d, %dx%dx%d, kernel %dx%d, %dx%dx%d outputs, stride %dx%d, "
        "dilation %dx%d, pad %d %d, density %g, %d threads\n",
        engine.c_str(), what, int(call.product), int(s.batch), int(s.in_height), int(s.in_width),
        int(s.in_channels), int(s.kernel_height), int(s.kernel_width), int(s.out_height),
        int(s.out_width), int(s.out_channels), int(s.stride_height), int(s.stride_width),
        int(c.dilation_height), int(c.dilation_width), int(s.pad_top), int(s.pad_left), density,
        call.threads);
  }

  std::mt19937 rng_;
  std::vector<Engine> engines_;
  std::map<std::string, int> runs_;
  int large_cases_ = 0, failures_ = 0;
};

}  // namespace keras_sparse::tests
