// Are the products on CUDA cores those of the reference? The kernels themselves, run on the CPU: no
// GPU is needed.
//
//   cuda_cores_test [random cases [seed]]
//
// Over a grid of shapes, and over random ones. Exit status 1 and the sizes of the case on failure.
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <random>
#include <utility>
#include <vector>

// The sources, compiled for the CPU: cuda_launch.cuh sees that this is not nvcc.
#include "custom_ops/contract/conv_reference.h"
#include "custom_ops/cuda/cores.cu"
#include "custom_ops/cuda/cores_c_api.cu"
#include "custom_ops/cuda/kernel_gradient.cu"
#include "custom_ops/cuda/pair_gradient.cu"
#include "custom_ops/cuda/pair_product.cu"
#include "custom_ops/cuda/plan.cu"
#include "custom_ops/cuda/product.cu"
#include "custom_ops/cuda/structure.cu"

namespace keras_sparse {
namespace {

constexpr MaskStructure kStructures[] = {MaskStructure::kWeights, MaskStructure::kChannelPairs};
constexpr Product kProducts[] = {Product::kForward, Product::kInputGradient,
                                 Product::kKernelGradient};

struct Pixels {
  int64_t height, width;
};

ConvSizes Sizes(int64_t batch, Pixels image, int64_t in_channels, Pixels kernel,
                int64_t out_channels, Pixels stride, bool same) {
  ConvSizes s{};
  s.batch = batch, s.in_height = image.height, s.in_width = image.width,
  s.in_channels = in_channels;
  s.kernel_height = kernel.height, s.kernel_width = kernel.width, s.out_channels = out_channels;
  s.stride_height = stride.height, s.stride_width = stride.width;
  const auto output = [same](int64_t in, int64_t k, int64_t step) {
    return same ? (in + step - 1) / step : std::max<int64_t>(0, in - k + step) / step;
  };
  s.out_height = output(image.height, kernel.height, stride.height);
  s.out_width = output(image.width, kernel.width, stride.width);
  const auto pad = [same](int64_t in, int64_t out, int64_t k, int64_t step) {
    return same ? std::max<int64_t>(0, (out - 1) * step + k - in) / 2 : 0;
  };
  s.pad_top = pad(image.height, s.out_height, kernel.height, stride.height);
  s.pad_left = pad(image.width, s.out_width, kernel.width, stride.width);
  return s;
}

std::vector<float> Random(int64_t count, std::mt19937& rng) {
  std::normal_distribution<float> normal;
  std::vector<float> values(count);
  for (float& value : values) value = normal(rng);
  return values;
}

using Mask = std::unique_ptr<bool[]>;

// By weights, or whole channel pairs; output channel 0 is empty unless the mask is full.
Mask RandomMask(const ConvSizes& s, MaskStructure structure, double density, std::mt19937& rng) {
  std::bernoulli_distribution active(density);
  Mask mask = std::make_unique<bool[]>(s.weights());
  const int64_t pairs = s.in_channels * s.out_channels;
  for (int64_t i = 0; i < s.weights(); ++i) {
    const bool copied = structure == MaskStructure::kChannelPairs && i >= pairs;
    mask[i] = copied ? mask[i - pairs] : active(rng) && (density == 1 || i % s.out_channels != 0);
  }
  return mask;
}

bool Close(const std::vector<float>& result, const std::vector<double>& expected) {
  double largest = 1e-3, difference = 0;
  for (const double value : expected) largest = std::max(largest, std::abs(value));
  for (size_t i = 0; i < expected.size(); ++i) {
    if (!std::isfinite(result[i])) return false;
    difference = std::max(difference, std::abs(result[i] - expected[i]));
  }
  return difference <= 1e-5 * largest;
}

// The result into poisoned memory, with a workspace full of `garbage`.
std::vector<float> Compute(Product product, const ConvSizes& s, MaskStructure structure,
                           const Mask& mask, const float* first, const float* second, size_t size,
                           int garbage) {
  std::vector<float> result(size, NAN);
  const int64_t bytes = CudaCoresWorkspace(product, s, structure);
  void* workspace = std::aligned_alloc(256, bytes);
  std::memset(workspace, garbage, bytes);
  if (RunOnCudaCores(product, s, structure, mask.get(), first, second, result.data(), workspace,
                     nullptr) != 0)
    result.assign(size, NAN);
  std::free(workspace);
  return result;
}

void Describe(const char* what, Product product, MaskStructure structure, const ConvSizes& s,
              double density) {
  std::printf(
      "%s, product %d, structure %d: batch %d, %dx%dx%d, kernel %dx%d, %dx%dx%d outputs, stride "
      "%dx%d, pad %d %d, "
      "density %g\n",
      what, int(product), int(structure), int(s.batch), int(s.in_height), int(s.in_width),
      int(s.in_channels), int(s.kernel_height), int(s.kernel_width), int(s.out_height),
      int(s.out_width), int(s.out_channels), int(s.stride_height), int(s.stride_width),
      int(s.pad_top), int(s.pad_left), density);
}

// Where the first pixel of an axis' grid that has this tap sees its source pixel: by definition,
// not by slots.
int SeenByTap(const Axis& axis, int lattice, int tap) {
  return axis.transposed ? (lattice + axis.pad - tap) / axis.stride : tap - axis.pad;
}

// Is this source pixel, of this channel, where an entry says?
bool Sees(const Plan& plan, int offset, int channel, int y, int x) {
  const int slot = offset / int(sizeof(float)) - channel * plan.channel_pitch;
  for (int i = 0; i < plan.y.lattices; ++i)
    for (int j = 0; j < plan.x.lattices; ++j) {
      if (plan.y.Residue(i) != y % plan.y.tap_step() || plan.x.Residue(j) != x % plan.x.tap_step())
        continue;
      if (plan.y.Source(i, 0, slot / plan.row_pitch) != SeenByTap(plan.y, i, y)) return false;
      if (plan.x.Source(j, 0, slot % plan.row_pitch) != SeenByTap(plan.x, j, x)) return false;
    }
  return true;
}

// Do the lists hold every active weight once, in the order of the kernel's taps and channels?
bool ListsAreRight(Product product, const ConvSizes& s, const Mask& mask) {
  Plan plan;
  if (!MakePlan(product, s, MaskStructure::kWeights, &plan)) return false;
  void* workspace = std::aligned_alloc(256, WorkspaceBytes(product, plan));
  const Lists lists = ListsIn(workspace, plan);
  bool right = LaunchBuildLists(plan, mask.get(), nullptr, lists, nullptr) == 0;
  std::vector<int> found(plan.lists());
  for (int weight = 0; weight < s.weights(); ++weight) {
    if (!mask[weight]) continue;
    const int tap = weight / plan.tap_stride, y = tap / plan.x.taps, x = tap % plan.x.taps;
    const int in = weight / int(s.out_channels) % int(s.in_channels),
              out = weight % int(s.out_channels);
    const int source = plan.y.transposed ? out : in,
              residue_y = y % plan.y.tap_step() * plan.x.residues;
    const int64_t list = plan.List(plan.y.transposed ? residue_y + x % plan.x.tap_step() : 0,
                                   source / plan.chunk, plan.y.transposed ? in : out);
    const Entry& entry = lists.entries[list * plan.room() + found[list]++];
    right = right && entry.payload == weight && Sees(plan, entry.offset, source % plan.chunk, y, x);
  }
  for (int64_t list = 0; list < plan.lists(); ++list)
    right = right && lists.counts[list] == found[list];
  std::free(workspace);
  return right;
}

// `structured`: what the mask looks like; it is given to the kernels for both.
int Failures(const ConvSizes& s, MaskStructure structured, double density, std::mt19937& rng) {
  const Mask mask = RandomMask(s, structured, density, rng);
  const auto inputs = Random(s.inputs(), rng), gradient = Random(s.outputs(), rng);
  auto kernel = Random(s.weights(), rng);
  for (int64_t i = 0; i < s.weights(); ++i)
    kernel[i] = mask[i] ? kernel[i] : NAN;  // missing weights are never read
  int failures = 0;
  for (const Product product : kProducts) {
    const float* first = product == Product::kInputGradient ? gradient.data() : inputs.data();
    const float* second = product == Product::kKernelGradient ? gradient.data() : kernel.data();
    const std::vector<double> expected = reference::Compute(product, s, mask.get(), first, second);
    if (!ListsAreRight(product, s, mask))
      Describe("lists", product, structured, s, density), ++failures;
    for (const MaskStructure structure : kStructures) {
      if (structure != MaskStructure::kWeights && s.kernel_height * s.kernel_width == 1)
        continue;  // the same kernels
      const auto result =
          Compute(product, s, structure, mask, first, second, expected.size(), 0xff);
      const auto again = Compute(product, s, structure, mask, first, second, expected.size(), 0x3f);
      const bool equal =
          std::memcmp(result.data(), again.data(), result.size() * sizeof(float)) == 0;
      if (!Close(result, expected) || !equal)
        Describe(equal ? "wrong" : "not the same twice", product, structure, s, density),
            ++failures;
    }
  }
  return failures;
}

int FailuresOfGrid(std::mt19937& rng) {
  int failures = 0;
  for (const Pixels kernel : {Pixels{1, 1}, {3, 3}, {5, 3}})
    for (const Pixels stride : {Pixels{1, 1}, {2, 2}, {3, 2}, {1, 3}})
      for (const bool same : {true, false})
        for (const Pixels image : {Pixels{7, 8}, {13, 10}})
          failures +=
              Failures(Sizes(2, image, 5, kernel, 9, stride, same), kStructures[same], 0.3, rng);
  for (const int64_t in : {1, 3, 16, 33, 64})
    for (const int64_t out : {1, 3, 33, 64})
      failures +=
          Failures(Sizes(1, {5, 6}, in, {3, 3}, out, {1, 1}, true), kStructures[out % 2], 0.1, rng);
  for (const double density : {0.0, 0.01, 0.5, 1.0})
    for (const MaskStructure structure : kStructures)
      failures += Failures(Sizes(3, {8, 8}, 17, {3, 3}, 20, {1, 1}, true), structure, density, rng);
  return failures;
}

// Tiles of every shape: many small images, high ones, wide ones, matrix products; and so many that
// blocks are large.
int FailuresOfTiles(std::mt19937& rng) {
  int failures = 0;
  for (const auto& [batch, image] : {std::pair<int64_t, Pixels>{70, {4, 4}},
                                     {40, {2, 2}},
                                     {17, {1, 3}},
                                     {1, {70, 5}},
                                     {2, {3, 150}},
                                     {1, {1, 300}},
                                     {5, {14, 14}}})
    for (const bool same : {true, false}) {
      const ConvSizes s = Sizes(batch, image, 4, {3, 3}, 3, {1, 1}, same);
      if (s.outputs() > 0) failures += Failures(s, kStructures[same], 0.4, rng);
    }
  failures +=
      Failures(Sizes(1, {1, 700}, 40, {1, 1}, 50, {1, 1}, true), MaskStructure::kWeights, 0.1, rng);
  failures +=
      Failures(Sizes(2, {12, 9}, 3, {11, 7}, 4, {4, 3}, true), MaskStructure::kWeights, 0.5, rng);
  failures +=
      Failures(Sizes(1, {9, 9}, 2, {2, 1}, 3, {5, 4}, true), MaskStructure::kWeights, 0.5, rng);
  // So many blocks that each computes as many channels as it can.
  for (const auto& [batch, image] : {std::pair<int64_t, Pixels>{136, {16, 16}}, {4300, {4, 4}}})
    failures += Failures(Sizes(batch, image, 2, {3, 3}, 37, {1, 1}, true),
                         MaskStructure::kChannelPairs, 0.3, rng);
  return failures;
}

int FailuresOfRandom(int cases, std::mt19937& rng) {
  const auto pick = [&rng](int64_t most) {
    return std::uniform_int_distribution<int64_t>(1, most)(rng);
  };
  int failures = 0;
  for (int i = 0; i < cases; ++i) {
    const Pixels kernel = pick(2) == 1 ? Pixels{3, 3} : Pixels{pick(6), pick(6)};
    const Pixels stride = pick(2) == 1 ? Pixels{1, 1} : Pixels{pick(4), pick(4)};
    const ConvSizes s = Sizes(pick(6), {kernel.height + pick(14), kernel.width + pick(14)},
                              pick(40), kernel, pick(40), stride, pick(2) == 1);
    failures += Failures(s, kStructures[pick(2) - 1], std::pow(10.0, -2.0 * pick(100) / 100), rng);
  }
  return failures;
}

// What is declined, and sizes of nothing.
int FailuresOfSizes() {
  ConvSizes s = Sizes(1, {8, 8}, 4, {3, 3}, 4, {1, 1}, true), many = s, large = s, nothing = s;
  many.batch = int64_t{1} << 26, large.kernel_height = large.kernel_width = 1000,
  nothing.in_channels = 0;
  int failures = 0;
  for (const MaskStructure structure : kStructures) {
    failures += WhyNotOnCudaCores(Product::kForward, s, structure) != nullptr;
    failures += WhyNotOnCudaCores(Product::kForward, many, structure) == nullptr;
    failures += WhyNotOnCudaCores(Product::kForward, large, structure) == nullptr;
    std::vector<float> result(nothing.outputs(), NAN);
    failures += RunOnCudaCores(Product::kForward, nothing, structure, nullptr, nullptr, nullptr,
                               result.data(), nullptr, nullptr) != 0;
    failures += std::count(result.begin(), result.end(), 0.0f) != nothing.outputs();
  }
  return failures;
}

}  // namespace
}  // namespace keras_sparse

int main(int argc, char** argv) {
  using namespace keras_sparse;
  const int random_cases = argc > 1 ? std::atoi(argv[1]) : 20;
  std::mt19937 rng(argc > 2 ? std::atoi(argv[2]) : 1);
  int failures = FailuresOfSizes();
  std::printf("sizes: %d failures\n", failures);
  failures += FailuresOfGrid(rng);
  std::printf("and shapes: %d failures\n", failures);
  failures += FailuresOfTiles(rng);
  std::printf("and tiles: %d failures\n", failures);
  failures += FailuresOfRandom(random_cases, rng);
  std::printf("CUDA cores, on the CPU: %d failures\n", failures);
  return failures == 0 ? 0 : 1;
}
