// One grid of shapes, and random ones: every engine of this machine against the reference.
//
//   grid_test [random cases [seed]]
//
// Exit status 1, and the engine and the sizes of the case, on failure. The kernels in Triton are
// not C++: tests/gpu/on_interpreter.py tests them.
#include "custom_ops/tests/grid.h"

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <utility>
#include <vector>

#include "custom_ops/contract/matmul.h"
#include "custom_ops/contract/product.h"
#include "custom_ops/cpu/active_list.h"
#include "custom_ops/tests/helpers.h"

namespace keras_sparse::tests {
namespace {

MaskStructure OneOf(int64_t i) {
  return i % 2 == 0 ? MaskStructure::Weights() : MaskStructure::ChannelPairs();
}

void CheckWindows(Grid& grid) {
  for (const int64_t kernel : {1, 2, 3, 5, 7})
    for (const int64_t stride : {1, 2, 3})
      for (const bool same : {true, false})
        for (const int64_t size : {7, 8, 14}) {
          const Pixels uneven = {kernel, std::max<int64_t>(1, kernel - size % 2)};
          const Pixels strides = {stride, std::max<int64_t>(1, stride - (size % 3 == 0))};
          grid.Check(MakeConvolution(3, {size, size + 1}, 17, uneven, 19, strides, same),
                     MaskStructure::Weights(), 0.2, 1 + int(size % 3), true);
        }
  for (const Pixels kernel : {Pixels{1, 1}, {3, 3}, {5, 3}})
    for (const Pixels stride : {Pixels{1, 1}, {2, 2}, {3, 2}, {1, 3}})
      for (const bool same : {true, false})
        for (const Pixels image : {Pixels{7, 8}, {13, 10}})
          grid.Check(MakeConvolution(2, image, 5, kernel, 9, stride, same), OneOf(same), 0.3, 1,
                     false);
}

void CheckDilations(Grid& grid) {
  for (const Pixels kernel : {Pixels{3, 3}, {2, 3}, {5, 1}})
    for (const Pixels dilation : {Pixels{2, 2}, {3, 1}, {2, 4}})
      for (const Pixels stride : {Pixels{1, 1}, {2, 2}, {3, 2}})
        for (const bool same : {true, false})
          grid.Check(MakeConvolution(2, {11, 12}, 5, kernel, 9, stride, same, dilation),
                     OneOf(same), 0.3, 1 + same, false);
}

void CheckChannelsAndDensities(Grid& grid) {
  for (const int64_t in : {1, 3, 16, 33, 64})
    for (const int64_t out : {1, 3, 33, 64})
      grid.Check(MakeConvolution(1, {5, 6}, in, {3, 3}, out, {1, 1}, true), OneOf(out), 0.1, 1,
                 false);
  for (const double density : {0.0, 0.01, 0.5, 1.0})
    for (const int64_t i : {0, 1})
      grid.Check(MakeConvolution(3, {8, 8}, 17, {3, 3}, 20, {1, 1}, true), OneOf(i), density, 1,
                 false);
  for (const double density : {0.0, 0.001, 0.02, 0.5, 1.0})
    for (const int64_t batch : {1, 16, 33})
      grid.Check(MakeConvolution(batch, {8, 9}, 40, {3, 3}, 48, {1, 1}, true),
                 MaskStructure::Weights(), density, 2, true);
}

// Tiles of every shape: many small images, high ones, wide ones, matrix products; and large
// numbers, for which thread blocks compute the most channels.
void CheckTiles(Grid& grid) {
  for (const auto& [batch, image] : {std::pair<int64_t, Pixels>{70, {4, 4}},
                                     {40, {2, 2}},
                                     {17, {1, 3}},
                                     {1, {70, 5}},
                                     {2, {3, 150}},
                                     {1, {1, 300}},
                                     {5, {14, 14}}})
    for (const bool same : {true, false}) {
      const Convolution c = MakeConvolution(batch, image, 4, {3, 3}, 3, {1, 1}, same);
      if (c.sizes.outputs() > 0) grid.Check(c, OneOf(same), 0.4, 2, false);
    }
  grid.Check(MakeConvolution(1, {1, 700}, 40, {1, 1}, 50, {1, 1}, true), OneOf(0), 0.1, 2, false);
  grid.Check(MakeConvolution(2, {12, 9}, 3, {11, 7}, 4, {4, 3}, true), OneOf(0), 0.5, 1, false);
  grid.Check(MakeConvolution(1, {9, 9}, 2, {2, 1}, 3, {5, 4}, true), OneOf(0), 0.5, 1, false);
  for (const auto& [batch, image] : {std::pair<int64_t, Pixels>{136, {16, 16}}, {4300, {4, 4}}})
    grid.Check(MakeConvolution(batch, image, 2, {3, 3}, 37, {1, 1}, true), OneOf(1), 0.3, 2, false);
}

void CheckMatMuls(Grid& grid) {
  for (const int64_t rows : {1, 2, 15, 16, 17, 100, 257})
    for (const int64_t in : {1, 16, 70})
      for (const int64_t out : {1, 15, 33, 128})
        for (const double density : {0.0, 0.05, 0.3, 1.0}) grid.CheckMatMul(rows, in, out, density);
  grid.CheckMatMul(130, 9, 3000, 0.1);  // outputs in parts
  // Few rows: one has its weights in the lanes, others are lanes; inputs in chunks.
  for (const int64_t rows : {1, 3, 8, 9}) grid.CheckMatMul(rows, 1200, 70, 0.2);
  grid.CheckMatMul(1, 8192 + 40, 17, 0.1);
}

// Blocks of every size, per tap and over all taps; channels that they do and do not divide;
// batches around whole vectors; strides, dilations and matrix products.
void CheckBlocks(Grid& grid) {
  for (const BlockShape block : {BlockShape{4, 4, true},
                                 {4, 4, false},
                                 {2, 4, true},
                                 {4, 2, true},
                                 {4, 2, false},
                                 {8, 8, true},
                                 {16, 4, false}})
    for (const Pixels stride : {Pixels{1, 1}, {2, 3}})
      for (const int64_t channels : {16, 21})
        grid.CheckBlocks(MakeConvolution(3, {8, 7}, channels, {3, 3}, 48 - channels, stride, true),
                         block, 0.3, 1 + int(channels % 2));
  for (int64_t batch = 1; batch <= 33; batch += batch % 16 == 1 ? 14 : 1)
    for (const double density : {0.0, 0.1, 1.0})
      grid.CheckBlocks(MakeConvolution(batch, {6, 5}, 12, {3, 3}, 16, {1, 1}, batch % 2 == 0),
                       {4, 4, true}, density, 2);
  for (const Pixels dilation : {Pixels{2, 2}, {3, 1}})
    grid.CheckBlocks(MakeConvolution(2, {11, 12}, 9, {3, 2}, 16, {1, 2}, true, dilation),
                     {4, 4, true}, 0.3, 1);
  for (const int64_t rows : {1, 2, 16, 17, 100, 257})
    for (const int64_t in : {4, 70})
      for (const int64_t out : {15, 128})
        grid.CheckBlocks({MatMulSizes(rows, in, out)}, {4, 4, true}, 0.2, 2);
  for (const int64_t rows : {17, 90})
    grid.CheckBlocks({MatMulSizes(rows, 250, 70)}, {4, 4, true}, 0.2, 2);
  // Tiles of more rows than a strip, and a last strip of fewer.
  grid.CheckBlocks(MakeConvolution(16, {11, 12}, 16, {3, 3}, 20, {1, 1}, true), {4, 4, true}, 0.5,
                   2);
  grid.CheckBlocks({MatMulSizes(130, 12, 3000)}, {4, 4, true}, 0.1, 3);
  grid.CheckBlocks(MakeConvolution(1, {1, 300}, 8, {1, 5}, 8, {1, 1}, true), {4, 4, true}, 0.4, 4);
  grid.CheckBlocks(MakeConvolution(2, {40, 3}, 8, {11, 1}, 8, {4, 1}, true), {4, 4, false}, 0.4, 4);
}

void CheckEachValue(Grid& grid) {
  for (const ElementType type : {ElementType::kBFloat16, ElementType::kFloat16})
    grid.CheckEachValue(type);
}

// Plans with equal lists of active weights hold one, as long as any of them is there.
int CheckSharedLists() {
  const Convolution c = {MatMulSizes(32, 64, 48)};
  const Lattice lattice = MakeLattices(Product::kForward, c)[0];
  const PackedPixels packed = PackPixels(lattice, 1, 1);
  std::unique_ptr<bool[]> mask(new bool[64 * 48]());
  mask[5] = mask[70] = true;
  const auto list = [&](int32_t chunk_channels) {
    const PackedMask bits(mask.get(), 64 * 48);
    return MakeActiveList(bits, c.sizes, false, lattice, packed, {1, 1, chunk_channels, 1}, 8);
  };
  const auto first = list(64), equal = list(64), of_chunks = list(16);
  mask[6] = true;
  const auto of_another_mask = list(64);
  const bool are_right = first == equal && first != of_chunks && first != of_another_mask &&
                         first->weight == std::vector<int32_t>{5, 70} &&
                         of_another_mask->weight == std::vector<int32_t>{5, 6, 70};
  std::printf("lists of active weights are %s\n", are_right ? "shared" : "NOT SHARED RIGHT");
  return are_right ? 0 : 1;
}

// Sizes of nothing are computed; those that do not fit are refused.
void CheckLimits(Grid& grid) {
  const Convolution c = MakeConvolution(1, {8, 8}, 4, {3, 3}, 4, {1, 1}, true);
  for (const int64_t nothing : {0, 1, 2}) {
    Convolution empty = c;
    (nothing == 0   ? empty.sizes.batch
     : nothing == 1 ? empty.sizes.in_channels
                    : empty.sizes.out_channels) = 0;
    grid.Check(empty, MaskStructure::Weights(), 0.5, 1, false);
  }
  Convolution many = c, large = c, far = c;
  many.sizes.batch = int64_t{1} << 26;
  large.sizes.kernel_height = large.sizes.kernel_width = 2000;
  far.sizes.stride_width = 2000;
  for (const Convolution& refused : {many, large, far}) grid.CheckRefusal(refused);
}

}  // namespace
}  // namespace keras_sparse::tests

int main(int argc, char** argv) {
  using namespace keras_sparse::tests;
  Grid grid(argc > 2 ? std::atoi(argv[2]) : 1);
  CheckLimits(grid);
  CheckEachValue(grid);
  CheckWindows(grid);
  CheckDilations(grid);
  CheckChannelsAndDensities(grid);
  CheckTiles(grid);
  CheckMatMuls(grid);
  CheckBlocks(grid);
  for (int i = argc > 1 ? std::atoi(argv[1]) : 100; i > 0; --i) grid.CheckRandom();
  const int failures = grid.Failures() + CheckSharedLists();
  std::printf("%d failures\n", failures);
  return failures == 0 ? 0 : 1;
}
