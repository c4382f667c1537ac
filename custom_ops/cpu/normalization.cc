// Batch normalization: parts of the rows, whose sums are joined in double precision.
//
// The parts do not depend on the number of threads, so neither do the results. The second pass
// begins where the first one has ended, in what the caches still hold.
#include "custom_ops/contract/normalization.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <vector>

#include "custom_ops/contract/numbers.h"
#include "custom_ops/contract/product.h"
#include "custom_ops/cpu/normalization_kernels.h"

namespace keras_sparse {

const NormalizationKernels& NormalizationFor(const char* instructions, ElementType type) {
#if !defined(KERAS_SPARSE_ONLY_PORTABLE)
  for (const auto* kernels : {Avx2Normalization(type), Avx512Normalization(type)})
    if (std::strcmp(kernels->name, instructions) == 0) return *kernels;
#endif
  (void)instructions;
  return *PortableNormalization(type);
}

namespace {

const void* At(const Normalization& n, const void* elements, int64_t i) {
  return static_cast<const char*>(elements) + i * ElementBytes(n.type);
}
void* At(const Normalization& n, void* elements, int64_t i) {
  return static_cast<char*>(elements) + i * ElementBytes(n.type);
}

constexpr int64_t kPartFloats = 65536, kLeastRows = 64;
constexpr double kCyclesOfFloat = 0.5;
constexpr int64_t kLargeBytes = 1 << 24;  // smaller ones were quicker in the last cache

bool IsLarge(const Normalization& n) {
  return n.rows * n.channels * ElementBytes(n.type) >= kLargeBytes;
}

// The rows in parts that are worth a thread each.
class Parts {
 public:
  explicit Parts(const Normalization& n)
      : n_(n),
        rows_(std::max(kLeastRows, kPartFloats / std::max<int64_t>(1, n.channels))),
        count_(n.channels == 0 ? 0 : DivideUp(n.rows, rows_)) {}

  int64_t count() const { return count_; }
  int64_t rows(int64_t part) const { return std::min(rows_, n_.rows - part * rows_); }

  // run(part, the index of its first element), from the first part to the last.
  template <class Run>
  void Forward(const Parallel& parallel, const Run& run) const {
    const auto cycles = static_cast<int64_t>(kCyclesOfFloat * rows_ * n_.channels);
    parallel.run(count_, cycles, [&](int64_t part) { run(part, part * rows_ * n_.channels); });
  }

  template <class Run>
  void Backward(const Parallel& parallel, const Run& run) const {
    const auto cycles = static_cast<int64_t>(kCyclesOfFloat * rows_ * n_.channels);
    parallel.run(count_, cycles,
                 [&](int64_t i) { run(count_ - 1 - i, (count_ - 1 - i) * rows_ * n_.channels); });
  }

 private:
  const Normalization& n_;
  int64_t rows_, count_;
};

// What the loops read of each channel.
class Factors {
 public:
  Factors(const Normalization& n, const ChannelValues& channels)
      : channels_(channels),
        factor_(n.channels),
        inverse_(n.channels),
        by_deviation_(n.channels),
        constant_(n.channels) {
    for (int64_t c = 0; c < n.channels; ++c) {
      inverse_[c] = 1.0f / std::sqrt(channels.variance[c] + n.epsilon);
      factor_[c] = channels.scale[c] * inverse_[c];
    }
  }

  // From the sums of a channel's gradients and of gradient * deviation, over all rows.
  void SetGradient(int64_t c, double sum, double deviation_sum, double rows) {
    const double inverse = inverse_[c];
    constant_[c] = static_cast<float>(-factor_[c] * sum / rows);
    by_deviation_[c] = static_cast<float>(-factor_[c] * inverse * inverse * deviation_sum / rows);
  }

  double inverse(int64_t c) const { return inverse_[c]; }

  NormalizationFactors of_channels() const {
    return {channels_.mean, factor_.data(), channels_.offset, by_deviation_.data(),
            constant_.data()};
  }

 private:
  const ChannelValues& channels_;
  std::vector<float> factor_, inverse_, by_deviation_, constant_;
};

}  // namespace

void BatchMoments(const NormalizationKernels& kernels, const Normalization& n, const void* inputs,
                  float* mean, float* variance, const Parallel& parallel) {
  const Parts parts(n);
  std::vector<float> means(parts.count() * n.channels), squares(parts.count() * n.channels);
  parts.Forward(parallel, [&](int64_t part, int64_t first) {
    kernels.moments(parts.rows(part), n.channels, At(n, inputs, first), &means[part * n.channels],
                    &squares[part * n.channels]);
  });
  std::vector<double> sums(n.channels), all_squares(n.channels);
  const auto rows = static_cast<double>(n.rows);
  for (int64_t part = 0; part < parts.count(); ++part)
    for (int64_t c = 0; c < n.channels; ++c)
      sums[c] += means[part * n.channels + c] * static_cast<double>(parts.rows(part));
  for (int64_t part = 0; part < parts.count(); ++part)
    for (int64_t c = 0; c < n.channels; ++c) {
      const double deviation = means[part * n.channels + c] - sums[c] / rows;
      all_squares[c] += squares[part * n.channels + c] +
                        deviation * deviation * static_cast<double>(parts.rows(part));
    }
  for (int64_t c = 0; c < n.channels; ++c) {
    mean[c] = static_cast<float>(sums[c] / rows);
    variance[c] = static_cast<float>(all_squares[c] / rows);
  }
}

void BatchNorm(const NormalizationKernels& kernels, const Normalization& n, const void* inputs,
               const ChannelValues& channels, void* outputs, const Parallel& parallel) {
  const Parts parts(n);
  const Factors factors(n, channels);
  const NormalizationFactors of_channels = factors.of_channels();
  parts.Backward(parallel, [&](int64_t part, int64_t first) {
    kernels.normalize(parts.rows(part), n.channels, n.activation, IsLarge(n), At(n, inputs, first),
                      of_channels, At(n, outputs, first));
  });
}

void BatchNormGradient(const NormalizationKernels& kernels, const Normalization& n,
                       const void* output_gradient, const void* inputs,
                       const ChannelValues& channels, const void* addend, void* input_gradient,
                       float* scale_gradient, float* offset_gradient, const Parallel& parallel) {
  const Parts parts(n);
  Factors factors(n, channels);
  const NormalizationFactors of_channels = factors.of_channels();
  std::vector<float> sums(parts.count() * n.channels), deviation_sums(parts.count() * n.channels);
  parts.Forward(parallel, [&](int64_t part, int64_t first) {
    kernels.gradient_sums(parts.rows(part), n.channels, n.activation, At(n, output_gradient, first),
                          At(n, inputs, first), of_channels, &sums[part * n.channels],
                          &deviation_sums[part * n.channels]);
  });
  std::vector<double> sum(n.channels), deviation_sum(n.channels);
  for (int64_t part = 0; part < parts.count(); ++part)
    for (int64_t c = 0; c < n.channels; ++c) {
      sum[c] += sums[part * n.channels + c];
      deviation_sum[c] += deviation_sums[part * n.channels + c];
    }
  for (int64_t c = 0; c < n.channels; ++c) {
    offset_gradient[c] = static_cast<float>(sum[c]);
    scale_gradient[c] = static_cast<float>(deviation_sum[c] * factors.inverse(c));
    factors.SetGradient(c, sum[c], deviation_sum[c], static_cast<double>(n.rows));
  }
  parts.Backward(parallel, [&](int64_t part, int64_t first) {
    kernels.input_gradient(parts.rows(part), n.channels, n.activation, IsLarge(n),
                           At(n, output_gradient, first), At(n, inputs, first), of_channels,
                           addend == nullptr ? nullptr : At(n, addend, first),
                           At(n, input_gradient, first));
  });
}

namespace {

const NormalizationKernels& Chosen(const Normalization& n) {
  static const char* instructions = VectorInstructions();
  return NormalizationFor(instructions, n.type);
}

}  // namespace

void BatchMoments(const Normalization& n, const void* inputs, float* mean, float* variance,
                  const Parallel& parallel) {
  BatchMoments(Chosen(n), n, inputs, mean, variance, parallel);
}

void BatchNorm(const Normalization& n, const void* inputs, const ChannelValues& channels,
               void* outputs, const Parallel& parallel) {
  BatchNorm(Chosen(n), n, inputs, channels, outputs, parallel);
}

void BatchNormGradient(const Normalization& n, const void* output_gradient, const void* inputs,
                       const ChannelValues& channels, const void* addend, void* input_gradient,
                       float* scale_gradient, float* offset_gradient, const Parallel& parallel) {
  BatchNormGradient(Chosen(n), n, output_gradient, inputs, channels, addend, input_gradient,
                    scale_gradient, offset_gradient, parallel);
}

}  // namespace keras_sparse
