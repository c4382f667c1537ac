#include "custom_ops/cpu/lattice.h"

#include "custom_ops/contract/numbers.h"

namespace keras_sparse {
namespace {

struct Shift {
  int32_t shift, index;
};

// One axis of the kernel.
struct Taps1D {
  int64_t count, dilation, pad, stride;
};

// The taps that reach input gradient pixels of this phase: output o with
// o * stride + tap * dilation - pad = phase + i * stride.
std::vector<Shift> ShiftsOfPhase(const Taps1D& taps, int64_t phase) {
  std::vector<Shift> shifts;
  for (int64_t tap = 0; tap < taps.count; ++tap) {
    const int64_t distance = phase + taps.pad - tap * taps.dilation;
    if (distance % taps.stride == 0)
      shifts.push_back({static_cast<int32_t>(distance / taps.stride), static_cast<int32_t>(tap)});
  }
  return shifts;
}

std::vector<Shift> ForwardShifts(const Taps1D& taps) {
  std::vector<Shift> shifts;
  for (int64_t tap = 0; tap < taps.count; ++tap)
    shifts.push_back(
        {static_cast<int32_t>(tap * taps.dilation - taps.pad), static_cast<int32_t>(tap)});
  return shifts;
}

std::vector<Tap> Taps(const std::vector<Shift>& rows, const std::vector<Shift>& columns,
                      const ConvSizes& s) {
  std::vector<Tap> taps;
  for (const Shift& y : rows)
    for (const Shift& x : columns)
      taps.push_back({y.shift, x.shift, y.index * static_cast<int32_t>(s.kernel_width) + x.index});
  return taps;
}

int32_t PixelsOfPhase(int64_t size, int64_t stride, int64_t phase) {
  return static_cast<int32_t>(size > phase ? DivideUp(size - phase, stride) : 0);
}

}  // namespace

std::vector<Lattice> MakeLattices(Product product, const Convolution& convolution) {
  const ConvSizes& s = convolution.sizes;
  const Taps1D rows = {s.kernel_height, convolution.dilation_height, s.pad_top, s.stride_height};
  const Taps1D columns = {s.kernel_width, convolution.dilation_width, s.pad_left, s.stride_width};
  const int32_t stride_y = static_cast<int32_t>(s.stride_height),
                stride_x = static_cast<int32_t>(s.stride_width);
  if (product != Product::kInputGradient) {
    const int32_t height = static_cast<int32_t>(s.out_height),
                  width = static_cast<int32_t>(s.out_width);
    return {{height, width, 0, 0, 1, 1, stride_y, stride_x,
             Taps(ForwardShifts(rows), ForwardShifts(columns), s)}};
  }
  std::vector<Lattice> lattices;
  for (int32_t y = 0; y < stride_y; ++y)
    for (int32_t x = 0; x < stride_x; ++x) {
      const int32_t height = PixelsOfPhase(s.in_height, stride_y, y),
                    width = PixelsOfPhase(s.in_width, stride_x, x);
      if (height == 0 || width == 0) continue;
      lattices.push_back({height, width, y, x, stride_y, stride_x, 1, 1,
                          Taps(ShiftsOfPhase(rows, y), ShiftsOfPhase(columns, x), s)});
    }
  return lattices;
}

}  // namespace keras_sparse
