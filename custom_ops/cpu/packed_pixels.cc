#include "custom_ops/cpu/packed_pixels.h"

#include <algorithm>
#include <map>
#include <utility>

#include "custom_ops/contract/numbers.h"

namespace keras_sparse {
namespace {

int32_t FloorDivide(int32_t a, int32_t b) { return a / b - (a % b != 0 && (a < 0) != (b < 0)); }

// A tap's shift as whole steps and a phase in [0, step).
struct Place {
  int32_t step_y, step_x, phase_y, phase_x;
};

Place PlaceOf(const Tap& tap, const Lattice& lattice) {
  const int32_t y = FloorDivide(tap.shift_y, lattice.in_step_y),
                x = FloorDivide(tap.shift_x, lattice.in_step_x);
  return {y, x, tap.shift_y - y * lattice.in_step_y, tap.shift_x - x * lattice.in_step_x};
}

struct Extent {
  int32_t first_y, last_y, first_x, last_x, first_slot;
};

// By phase: the smallest and the largest whole steps among its taps.
std::map<std::pair<int32_t, int32_t>, Extent> Extents(const Lattice& lattice) {
  std::map<std::pair<int32_t, int32_t>, Extent> extents;
  for (const Tap& tap : lattice.taps) {
    const Place p = PlaceOf(tap, lattice);
    const auto [found, is_new] =
        extents.insert({{p.phase_y, p.phase_x}, {p.step_y, p.step_y, p.step_x, p.step_x, 0}});
    Extent& e = found->second;
    e = {std::min(e.first_y, p.step_y), std::max(e.last_y, p.step_y), std::min(e.first_x, p.step_x),
         std::max(e.last_x, p.step_x), 0};
  }
  return extents;
}

}  // namespace

PackedPixels PackPixels(const Lattice& lattice, int tile_h, int tile_w) {
  PackedPixels packed;
  auto extents = Extents(lattice);
  for (const auto& [phase, e] : extents)
    packed.row_stride = std::max(packed.row_stride, tile_w + e.last_x - e.first_x);
  for (auto& [phase, e] : extents) {
    e.first_slot = packed.slots;
    for (int32_t row = 0; row < tile_h + e.last_y - e.first_y; ++row) {
      for (int32_t column = 0; column < tile_w + e.last_x - e.first_x; ++column) {
        packed.slot.push_back(packed.slots + column);
        packed.dy.push_back((e.first_y + row) * lattice.in_step_y + phase.first);
        packed.dx.push_back((e.first_x + column) * lattice.in_step_x + phase.second);
      }
      packed.slots += packed.row_stride;
    }
  }
  for (const Tap& tap : lattice.taps) {
    const Place p = PlaceOf(tap, lattice);
    const Extent& e = extents.at({p.phase_y, p.phase_x});
    packed.tap_slot.push_back(e.first_slot + (p.step_y - e.first_y) * packed.row_stride + p.step_x -
                              e.first_x);
  }
  return packed;
}

LatticeTables TilesOf(Product product, const ConvSizes& s, const Lattice& lattice,
                      const PackedPixels& packed, int tile_h, int tile_w) {
  const bool transposed = product == Product::kInputGradient;
  LatticeTables t = {};
  t.tile_h = tile_h, t.tile_w = tile_w;
  t.grid_h = lattice.grid_h, t.grid_w = lattice.grid_w;
  t.tiles_y = DivideUp(t.grid_h, t.tile_h), t.tiles_x = DivideUp(t.grid_w, t.tile_w);
  t.tiles = s.batch * t.tiles_y * t.tiles_x;
  t.out_h = static_cast<int32_t>(transposed ? s.in_height : s.out_height);
  t.out_w = static_cast<int32_t>(transposed ? s.in_width : s.out_width);
  t.out_y0 = lattice.out_y0, t.out_x0 = lattice.out_x0;
  t.out_step_y = lattice.out_step_y, t.out_step_x = lattice.out_step_x;
  t.out_channels = transposed ? s.in_channels : s.out_channels;
  t.in_h = static_cast<int32_t>(transposed ? s.out_height : s.in_height);
  t.in_w = static_cast<int32_t>(transposed ? s.out_width : s.in_width);
  t.in_step_y = lattice.in_step_y, t.in_step_x = lattice.in_step_x;
  t.in_channels = transposed ? s.out_channels : s.in_channels;
  t.slots = packed.slots, t.pixels = static_cast<int32_t>(packed.slot.size());
  t.slot = packed.slot.data(), t.dy = packed.dy.data(), t.dx = packed.dx.data();
  t.row_stride = packed.row_stride;
  return t;
}

}  // namespace keras_sparse
