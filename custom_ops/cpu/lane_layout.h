// Images in NHWC become images in lanes, and the other way round: contract/lane_layout.h.
#pragma once

#include "custom_ops/contract/lane_layout.h"
#include "custom_ops/cpu/lanes.h"

namespace keras_sparse::KERAS_SPARSE_INSTRUCTIONS {

static_assert(kImageLanes % kLanes == 0, "the lanes of a pixel are whole vectors");

// Rows of one group of images.
struct GroupRows {
  int64_t group, first, end;
};

// pixels[i]: the first channel of this pixel in image i of the group, or `outside`. `step`: floats
// from one image to the next.
template <class Float>
KS_INLINE void FindPixels(const LaneLayout& layout, int64_t group, Float* pixel, int64_t step,
                          Float* outside, Float** pixels) {
  const int64_t first = group * kImageLanes;
  for (int64_t i = 0; i < kImageLanes; ++i)
    pixels[i] = first + i < layout.batch ? pixel + (first + i) * step : outside;
}

// `zeros`: channels floats. The ring is not written.
inline void PackImages(const LaneLayout& layout, GroupRows rows, const float* images,
                       const float* zeros, float* lanes) {
  const int64_t step = layout.height * layout.width * layout.channels;
  for (int64_t y = rows.first; y < rows.end; ++y)
    for (int64_t x = 0; x < layout.width; ++x) {
      const float* pixels[kImageLanes];
      FindPixels(layout, rows.group, images + (y * layout.width + x) * layout.channels, step, zeros,
                 pixels);
      for (int lane = 0; lane < kImageLanes; lane += kLanes)
        ToLanes<Float32>(pixels + lane, 0, layout.channels,
                         lanes + layout.At(rows.group, 0, y, x) + lane, layout.plane());
    }
}

// `outside`: channels floats, overwritten.
inline void UnpackImages(const LaneLayout& layout, GroupRows rows, const float* lanes,
                         float* outside, float* images) {
  const int64_t step = layout.height * layout.width * layout.channels;
  for (int64_t y = rows.first; y < rows.end; ++y)
    for (int64_t x = 0; x < layout.width; ++x) {
      float* pixels[kImageLanes];
      FindPixels(layout, rows.group, images + (y * layout.width + x) * layout.channels, step,
                 outside, pixels);
      for (int lane = 0; lane < kImageLanes; lane += kLanes)
        FromLanes<Float32, false>(lanes + layout.At(rows.group, 0, y, x) + lane, layout.plane(), 0,
                                  layout.channels, pixels + lane);
    }
}

// Writes zeros into the rings of all channels of a group.
inline void ZeroRing(const LaneLayout& layout, int64_t group, float* lanes) {
  const auto zero = [](float* begin, float* end) {
    for (; begin != end; begin += kLanes) Store(begin, Vector{});
  };
  const int64_t side = layout.ring * kImageLanes;
  for (int64_t channel = 0; channel < layout.channels; ++channel) {
    float* plane = lanes + group * layout.group() + channel * layout.plane();
    zero(plane, plane + layout.ring * layout.row());
    zero(plane + layout.plane() - layout.ring * layout.row(), plane + layout.plane());
    for (int64_t y = layout.ring; y < layout.height + layout.ring; ++y) {
      float* row = plane + y * layout.row();
      zero(row, row + side);
      zero(row + layout.row() - side, row + layout.row());
    }
  }
}

}  // namespace keras_sparse::KERAS_SPARSE_INSTRUCTIONS
