// Images in lanes: [group of 16 images][channel][y][x][16 images], a ring of zeros around each
// image. A lane is an image, so a tap of a kernel is one offset, and no sum sees a border.
#pragma once

#include <cstdint>

#include "custom_ops/contract/numbers.h"

namespace keras_sparse {

constexpr int kImageLanes = 16;

// Counts floats. The lanes of images beyond the last one hold zeros.
struct LaneLayout {
  int64_t batch, channels, height, width;
  int64_t ring = 1;  // pixels of zeros on each side

  int64_t groups() const { return DivideUp(batch, int64_t{kImageLanes}); }
  int64_t row() const { return (width + 2 * ring) * kImageLanes; }
  int64_t plane() const { return (height + 2 * ring) * row(); }  // of one channel
  int64_t group() const { return channels * plane(); }
  int64_t size() const { return groups() * group(); }

  // Where the 16 lanes of a pixel begin; y and x count from -ring to height + ring and width +
  // ring.
  int64_t At(int64_t group_index, int64_t channel, int64_t y, int64_t x) const {
    return group_index * group() + channel * plane() + (y + ring) * row() +
           (x + ring) * kImageLanes;
  }
};

}  // namespace keras_sparse
