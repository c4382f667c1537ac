#include "custom_ops/cpu/block_tiling.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "custom_ops/contract/numbers.h"
#include "custom_ops/cpu/packed_pixels.h"

namespace keras_sparse {
namespace {

constexpr int32_t kLargestSide = 32, kLargestTile = 256;
constexpr double kPackedInCache = 512 * 1024, kMostPacked = 32 << 20;  // bytes
constexpr double kChunk = 256 * 1024;  // bytes of packed pixels beside the gradients of a block
constexpr int32_t kStrip = 64;         // pixels of the kernel gradient's strips, at most

// Sizes up to kLargestSide that cut an axis of this length evenly.
std::vector<int32_t> Sides(int32_t length) {
  std::vector<int32_t> sides;
  for (int32_t most = 1; most <= std::min(kLargestSide, length); ++most) {
    const int32_t side = DivideUp(length, DivideUp(length, most));
    if (sides.empty() || sides.back() != side) sides.push_back(side);
  }
  return sides;
}

// One candidate.
struct Tile {
  int32_t height, width;
  double groups, pixels, packed_bytes;
};

Tile MakeTile(const Lattice& lattice, const BlockLoad& load, int32_t height, int32_t width,
              int lanes) {
  const PackedPixels packed = PackPixels(lattice, height, width);
  const int64_t tiles =
      load.batch * DivideUp(lattice.grid_h, height) * DivideUp(lattice.grid_w, width);
  return {height, width, static_cast<double>(DivideUp(tiles, int64_t{lanes})),
          static_cast<double>(packed.slot.size()),
          static_cast<double>(load.in_channels) * std::max(1, packed.slots) * load.channel_floats *
              sizeof(float)};
}

// Rows of a strip: as even as they can be.
int32_t StripHeight(int32_t height, int32_t width) {
  return DivideUp(height, DivideUp(height, std::max(1, kStrip / width)));
}

// Cycles, roughly: two multiplications a cycle, five cycles a vector that changes its layout, more
// the more of them do not stay in the second cache.
double Cost(const Tile& t, const BlockLoad& load) {
  const double tile = t.height * t.width, products = load.summed * load.outputs;
  const double move = 5 + 3 * std::max(0.0, std::log2(t.packed_bytes / kPackedInCache));
  const double layout = move * (load.in_channels * t.pixels + load.out_channels * tile);
  if (load.product == Product::kKernelGradient)
    return t.groups *
           (layout + load.active * (tile * products / 2 + t.height * 5 +
                                    45 * DivideUp(t.height, StripHeight(t.height, t.width))));
  const double runs = t.height * DivideUp(t.width, load.most_pixels);
  return t.groups * (layout + load.active * (tile * products / 2 + runs * load.summed * 1.5) +
                     load.output_blocks * (20 * runs + load.outputs * tile));
}

int32_t Parts(const BlockLoad& load, const Tile& tile, int threads) {
  const int64_t wanted = DivideUp(int64_t{2} * threads, static_cast<int64_t>(tile.groups));
  return static_cast<int32_t>(
      threads > 1 ? std::min(DivideUp(load.output_blocks, int64_t{4}), wanted) : 1);
}

}  // namespace

std::optional<BlockTiling> ChooseBlockTiling(const Lattice& lattice, const BlockLoad& load,
                                             int lanes, int threads) {
  std::optional<Tile> best;
  double best_cost = 0;
  for (const int32_t height : Sides(lattice.grid_h))
    for (const int32_t width : Sides(lattice.grid_w)) {
      if (height * width > kLargestTile || (load.in_pairs && width % 2 != 0)) continue;
      const Tile tile = MakeTile(lattice, load, height, width, lanes);
      if (tile.packed_bytes > kMostPacked) continue;
      const double cost = Cost(tile, load);
      if (!best || cost < best_cost) best = tile, best_cost = cost;
    }
  if (!best) return std::nullopt;
  const int32_t strip = StripHeight(best->height, best->width);
  const double block_bytes = MakeTile(lattice, load, strip, best->width, lanes).packed_bytes /
                             load.in_channels * load.summed;
  return BlockTiling{best->height, best->width, Parts(load, *best, threads), strip,
                     std::max<int64_t>(1, static_cast<int64_t>(kChunk / block_bytes))};
}

}  // namespace keras_sparse
