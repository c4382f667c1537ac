// Where the pixels of a group of tiles lie in the images.
#pragma once

#include "custom_ops/cpu/elements.h"
#include "custom_ops/cpu/kernels.h"
#include "custom_ops/cpu/lanes.h"
#include "custom_ops/cpu/vector.h"

namespace keras_sparse::KERAS_SPARSE_INSTRUCTIONS {

// Of tile `first + lane`: image, and the place of its first pixel in the output grid. Lanes beyond
// the last tile lie outside of every image.
struct TilePixels {
  int64_t image[kLanes];
  int32_t y[kLanes], x[kLanes];
};

KS_INLINE void FindTiles(const LatticeTables& t, int64_t group, TilePixels& tiles) {
  for (int lane = 0; lane < kLanes; ++lane) {
    const int64_t tile = group * kLanes + lane;
    const bool inside = tile < t.tiles;
    const int32_t per_image = t.tiles_y * t.tiles_x;
    const int32_t in_image = static_cast<int32_t>(tile % per_image);
    tiles.image[lane] = inside ? tile / per_image : 0;
    tiles.y[lane] = inside ? in_image / t.tiles_x * t.tile_h : t.grid_h;
    tiles.x[lane] = inside ? in_image % t.tiles_x * t.tile_w : t.grid_w;
  }
}

// pixels[i][lane]: the first channel of the input pixel in slot[i], or zeros.
template <class Value>
KS_INLINE void FindInputs(const LatticeTables& t, const TilePixels& tiles, const Value* inputs,
                          const Value* zeros, const Value** pixels) {
  const uint32_t height = t.in_h, width = t.in_w;
  int64_t image[kLanes];
  int32_t y0[kLanes], x0[kLanes];
  for (int lane = 0; lane < kLanes; ++lane) {
    const bool inside = tiles.y[lane] < t.grid_h;
    image[lane] = tiles.image[lane] * t.in_h * t.in_w;
    y0[lane] = inside ? tiles.y[lane] * t.in_step_y : -(1 << 30);
    x0[lane] = tiles.x[lane] * t.in_step_x;
  }
  for (int32_t i = 0; i < t.pixels; ++i) {
    for (int lane = 0; lane < kLanes; ++lane) {
      const int32_t y = y0[lane] + t.dy[i], x = x0[lane] + t.dx[i];
      const bool inside = (static_cast<uint32_t>(y) < height) & (static_cast<uint32_t>(x) < width);
      const int64_t pixel = image[lane] + static_cast<int64_t>(y) * t.in_w + x;
      pixels[i * kLanes + lane] = inside ? inputs + pixel * t.in_channels : zeros;
    }
  }
}

// pixels[i][lane]: the first channel of the output pixel i of the tile, or `outside`.
template <class Value>
KS_INLINE void FindOutputs(const LatticeTables& t, const TilePixels& tiles, Value* outputs,
                           Value* outside, Value** pixels) {
  for (int32_t i = 0; i < t.tile_h * t.tile_w; ++i) {
    for (int lane = 0; lane < kLanes; ++lane) {
      const int32_t row = tiles.y[lane] + i / t.tile_w, column = tiles.x[lane] + i % t.tile_w;
      const int64_t y = t.out_y0 + static_cast<int64_t>(row) * t.out_step_y;
      const int64_t x = t.out_x0 + static_cast<int64_t>(column) * t.out_step_x;
      const bool inside = row < t.grid_h && column < t.grid_w;
      const int64_t pixel = (tiles.image[lane] * t.out_h + y) * t.out_w + x;
      pixels[i * kLanes + lane] = inside ? outputs + pixel * t.out_channels : outside;
    }
  }
}

// Of one part.
struct OutputChannels {
  int64_t first, count;
};

// pixels[i][lane] of what is added to the outputs, on its way into the second cache; null: nothing
// is added.
template <class Value>
KS_INLINE const Value* const* FindAddends(const LatticeTables& t, const TilePixels& tiles,
                                          const OutputChannels& part, const void* addend,
                                          const Value* zeros, const Value** pixels) {
  if (addend == nullptr) return nullptr;
  FindOutputs<const Value>(t, tiles, static_cast<const Value*>(addend), zeros, pixels);
  for (int32_t i = 0; i < t.tile_h * t.tile_w; ++i)
    PrefetchPixels(pixels + i * kLanes, part.first, part.count);
  return pixels;
}

// An output that no cache holds until it is read again need not be fetched before it is written.
constexpr int64_t kStreamBytes = 1 << 21;

template <class Elements>
KS_INLINE bool Streams(const LatticeTables& t, const OutputChannels& part,
                       const typename Elements::Value* outputs) {
  constexpr int kChannels = kLanes * Elements::kPerLane;
  const int64_t elements = t.tiles * t.tile_h * t.tile_w * t.out_channels;
  return elements * static_cast<int64_t>(sizeof *outputs) >= kStreamBytes &&
         t.out_channels % kChannels == 0 && part.first % kChannels == 0 &&
         reinterpret_cast<uintptr_t>(outputs) % kVectorBytes == 0;
}

}  // namespace keras_sparse::KERAS_SPARSE_INSTRUCTIONS
