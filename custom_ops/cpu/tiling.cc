#include "custom_ops/cpu/tiling.h"

#include <algorithm>

#include "custom_ops/contract/numbers.h"
#include "custom_ops/cpu/kernels.h"
#include "custom_ops/cpu/packed_pixels.h"

namespace keras_sparse {
namespace {

struct Tile {
  int height, width;
};
#define KS_TILE(H, W) {H, W},
constexpr Tile kTiles[] = {KS_FOR_TILES(KS_TILE)};
#undef KS_TILE

int64_t Groups(const Lattice& lattice, const LatticeLoad& load, int tile_h, int tile_w, int lanes) {
  return DivideUp(load.batch * DivideUp(lattice.grid_h, tile_h) * DivideUp(lattice.grid_w, tile_w),
                  lanes);
}

// Cycles, roughly: two multiplications a cycle and two more cycles a weight, about five a vector
// that changes its layout.
double Cost(const Lattice& lattice, const LatticeLoad& load, int tile_h, int tile_w, int lanes) {
  const int tile = tile_h * tile_w;
  const double pixels = static_cast<double>(PackPixels(lattice, tile_h, tile_w).slot.size());
  const double group = load.active * (tile / 2.0 + 2) + 5.0 * load.in_channels * pixels +
                       5.0 * load.out_channels * tile;
  return Groups(lattice, load, tile_h, tile_w, lanes) * group;
}

// As many channels as the packed pixels of a chunk fit the first cache; more, from the second one,
// where the weights are so few that sums would be loaded and stored for less than kActivePerSegment
// of them.
constexpr double kFirstCache = 40 * 1024, kSecondCache = 300 * 1024, kActivePerSegment = 8;

int32_t ChunkChannels(const LatticeLoad& load, int64_t slots, int lanes) {
  const double channel_bytes =
      static_cast<double>(std::max<int64_t>(1, slots) * lanes * sizeof(float));
  const double active_per_channel =
      static_cast<double>(std::max<int64_t>(1, load.active)) / load.in_channels / load.out_channels;
  const double wanted =
      std::min(kSecondCache / channel_bytes, kActivePerSegment / active_per_channel);
  const double channels = std::min(std::max(kFirstCache / channel_bytes, wanted),
                                   static_cast<double>(load.in_channels));
  return static_cast<int32_t>(std::max<int64_t>(16, static_cast<int64_t>(channels + 8) / 16 * 16));
}

// Into how many parts the output channels are cut. With too few tiles for all threads, each thread
// packs all inputs and computes some of the outputs. A single tap packs little. So it does the same
// where the sums of a group of tiles would not stay in the second cache.
constexpr int64_t kSumBytes = 512 * 1024;

int64_t Parts(const Lattice& lattice, const LatticeLoad& load, const Tiling& tiling, int lanes,
              int threads) {
  const int64_t groups =
      std::max<int64_t>(1, Groups(lattice, load, tiling.tile_h, tiling.tile_w, lanes));
  const int64_t sum_bytes =
      load.out_channels * tiling.tile_h * tiling.tile_w * lanes * int64_t{sizeof(float)};
  int64_t parts = threads > 1 ? DivideUp(2 * threads, groups) : 1;
  if (lattice.taps.size() == 1) parts = std::max(parts, DivideUp(sum_bytes, kSumBytes));
  return std::min(DivideUp(load.out_channels, 16), parts);
}

}  // namespace

Tiling ChooseTiling(const Lattice& lattice, const LatticeLoad& load, int lanes, int max_tile,
                    int threads) {
  Tiling best = {1, 1, 16, 1};
  double best_cost = -1;
  // A single tap sees no borders, so a larger tile saves no packing; a smaller one leaves more of
  // the cache to the sums.
  const int largest = lattice.taps.size() == 1 ? std::min(max_tile, 8) : max_tile;
  for (const auto& [tile_h, tile_w] : kTiles) {
    if (tile_h * tile_w > largest) continue;
    const double cost = Cost(lattice, load, tile_h, tile_w, lanes);
    if (best_cost < 0 || cost < best_cost) best = {tile_h, tile_w, 16, 1}, best_cost = cost;
  }
  best.chunk_channels =
      ChunkChannels(load, PackPixels(lattice, best.tile_h, best.tile_w).slots, lanes);
  best.parts = static_cast<int32_t>(Parts(lattice, load, best, lanes, threads));
  return best;
}

}  // namespace keras_sparse
