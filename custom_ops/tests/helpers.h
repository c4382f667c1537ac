// What the tests have in common: threads, random values and masks, sizes, comparisons.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <memory>
#include <random>
#include <thread>
#include <vector>

#include "custom_ops/contract/product.h"

namespace keras_sparse::tests {

// Real threads, one for each part.
inline Parallel Threads(int threads) {
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

inline std::vector<float> Random(int64_t count, std::mt19937& rng) {
  std::normal_distribution<float> normal;
  std::vector<float> values(count);
  for (float& value : values) value = normal(rng);
  return values;
}

struct Pixels {
  int64_t height, width;
};

// One axis of the output, by its definition: windows and zeros before the first pixel.
inline void SetAxis(int64_t in, int64_t taps, int64_t stride, int64_t dilation, bool same,
                    int64_t* out, int64_t* pad) {
  const int64_t span = (taps - 1) * dilation + 1;
  *out = same ? (in + stride - 1) / stride : std::max<int64_t>(0, in - span + stride) / stride;
  *pad = same ? std::max<int64_t>(0, (*out - 1) * stride + span - in) / 2 : 0;
}

inline Convolution MakeConvolution(int64_t batch, Pixels image, int64_t in_channels, Pixels kernel,
                                   int64_t out_channels, Pixels stride, bool same,
                                   Pixels dilation = {1, 1}) {
  Convolution c = {};
  ConvSizes& s = c.sizes;
  s.batch = batch, s.in_height = image.height, s.in_width = image.width;
  s.in_channels = in_channels, s.out_channels = out_channels;
  s.kernel_height = kernel.height, s.kernel_width = kernel.width;
  s.stride_height = stride.height, s.stride_width = stride.width;
  c.dilation_height = dilation.height, c.dilation_width = dilation.width;
  SetAxis(image.height, kernel.height, stride.height, dilation.height, same, &s.out_height,
          &s.pad_top);
  SetAxis(image.width, kernel.width, stride.width, dilation.width, same, &s.out_width, &s.pad_left);
  return c;
}

using Mask = std::unique_ptr<bool[]>;

// Of this structure; output channel 0 is empty unless the mask is full.
inline Mask RandomMask(const ConvSizes& s, MaskStructure structure, double density,
                       std::mt19937& rng) {
  std::bernoulli_distribution active(density);
  Mask mask = std::make_unique<bool[]>(s.weights());
  const int64_t pairs = s.in_channels * s.out_channels;
  for (int64_t i = 0; i < s.weights(); ++i) {
    const bool copied = structure.kind == MaskStructure::kChannelPairs && i >= pairs;
    mask[i] = copied ? mask[i - pairs] : active(rng) && (density == 1 || i % s.out_channels != 0);
  }
  return mask;
}

// Input and output channels that are active or missing together, in each tap or in all of them.
struct BlockShape {
  int64_t in, out;
  bool per_tap;
};

// Of whole blocks; those at the last channels may be smaller.
inline Mask RandomBlocks(const ConvSizes& s, BlockShape block, double density, std::mt19937& rng) {
  std::bernoulli_distribution active(density);
  Mask mask = std::make_unique<bool[]>(s.weights());
  const int64_t pairs = s.in_channels * s.out_channels;
  for (int64_t i = 0; i < s.weights(); ++i) {
    const int64_t in = i / s.out_channels % s.in_channels, out = i % s.out_channels;
    const int64_t first = i - in % block.in * s.out_channels - out % block.out;
    const bool is_first = first == i && (block.per_tap || i < pairs);
    mask[i] = is_first ? active(rng) : mask[first != i ? first : i - pairs];
  }
  return mask;
}

// The values as an array of this type, and as floats again.
inline std::vector<char> ToElements(ElementType type, const float* values, int64_t count) {
  std::vector<char> elements(count * ElementBytes(type));
  for (int64_t i = 0; i < count; ++i) SetElement(type, elements.data(), i, values[i]);
  return elements;
}

inline std::vector<float> ToFloats(ElementType type, const std::vector<char>& elements) {
  std::vector<float> values(elements.size() / ElementBytes(type));
  for (size_t i = 0; i < values.size(); ++i) values[i] = FloatAt(type, elements.data(), i);
  return values;
}

// Half of the distance to the next value, of a value of size 1.
inline double RoundingError(ElementType type) {
  return type == ElementType::kFloat32    ? 0
         : type == ElementType::kBFloat16 ? 1.0 / 256
                                          : 1.0 / 2048;
}

// To float32's sums, and one rounding of each result to its type. False for NaN and infinity, too.
inline bool Close(ElementType type, const std::vector<float>& result,
                  const std::vector<double>& expected) {
  double largest = 1e-3;
  for (const double value : expected) largest = std::max(largest, std::abs(value));
  for (size_t i = 0; i < expected.size(); ++i) {
    const double most = 1e-5 * largest + RoundingError(type) * std::abs(expected[i]);
    if (!std::isfinite(result[i]) || std::abs(result[i] - expected[i]) > most) return false;
  }
  return true;
}

// Equal to the last bit; memcmp takes no null pointers, as vectors of no elements have.
inline bool SameBits(const std::vector<float>& one, const std::vector<float>& other) {
  return one.size() == other.size() &&
         (one.empty() || std::memcmp(one.data(), other.data(), one.size() * sizeof(float)) == 0);
}

}  // namespace keras_sparse::tests
