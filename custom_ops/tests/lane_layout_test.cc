// Images into lanes and back: every pixel where contract/lane_layout.h says, and zeros around them.
//
//   lane_layout_test
//
// Exit status 1, and the sizes of the case, on failure. Compiled for the portable vectors.
#include "custom_ops/cpu/lane_layout.h"

#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <random>
#include <vector>

#include "custom_ops/tests/helpers.h"

namespace keras_sparse::tests {
namespace {

using namespace KERAS_SPARSE_INSTRUCTIONS;

// By definition: which float of NHWC images a lane holds, -1 for a zero.
int64_t PixelOf(const LaneLayout& l, int64_t group, int64_t channel, int64_t y, int64_t x,
                int64_t lane) {
  const int64_t image = group * 16 + lane;
  if (image >= l.batch || y < 0 || y >= l.height || x < 0 || x >= l.width) return -1;
  return ((image * l.height + y) * l.width + x) * l.channels + channel;
}

bool IsRight(const LaneLayout& l, const std::vector<float>& images, const float* lanes) {
  int64_t next = 0;  // the layout has no gaps
  for (int64_t g = 0; g < l.groups(); ++g)
    for (int64_t c = 0; c < l.channels; ++c)
      for (int64_t y = -l.ring; y < l.height + l.ring; ++y)
        for (int64_t x = -l.ring; x < l.width + l.ring; ++x) {
          if (l.At(g, c, y, x) != next) return false;
          for (int64_t lane = 0; lane < 16; ++lane, ++next) {
            const int64_t pixel = PixelOf(l, g, c, y, x, lane);
            if (lanes[next] != (pixel < 0 ? 0 : images[pixel])) return false;
          }
        }
  return next == l.size();
}

bool Check(const LaneLayout& l, std::mt19937& rng) {
  const auto images = Random(l.batch * l.channels * l.height * l.width, rng);
  std::vector<float> zeros(l.channels), outside(l.channels), back(images.size(), NAN);
  float* lanes = static_cast<float*>(std::aligned_alloc(64, l.size() * sizeof(float)));
  std::fill_n(lanes, l.size(), NAN);
  for (int64_t g = 0; g < l.groups(); ++g) {
    ZeroRing(l, g, lanes);
    const int64_t half = l.height / 2;
    for (const GroupRows rows : {GroupRows{g, half, l.height}, {g, 0, half}}) {
      PackImages(l, rows, images.data(), zeros.data(), lanes);
      UnpackImages(l, rows, lanes, outside.data(), back.data());
    }
  }
  const bool right = IsRight(l, images, lanes) && back == images;
  if (!right)
    std::printf("wrong: batch %d, %dx%dx%d, ring %d\n", int(l.batch), int(l.height), int(l.width),
                int(l.channels), int(l.ring));
  std::free(lanes);
  return right;
}

}  // namespace
}  // namespace keras_sparse::tests

int main() {
  using namespace keras_sparse::tests;
  std::mt19937 rng(1);
  int failures = 0;
  for (const int64_t batch : {1, 16, 19, 33})
    for (const int64_t channels : {1, 4, 7, 16, 37})
      for (const int64_t ring : {0, 1, 2})
        failures += !Check({batch, channels, 3, 1 + batch % 5, ring}, rng);
  return failures == 0 ? 0 : 1;
}
