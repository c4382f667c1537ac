// The product by lists of channel pairs, for 3x3 kernels: forward, and input gradient.
//
// A block: a tile of 512 pixels by 32 result channels (8 where the GPU would not be full). A thread
// computes 8 pairs of neighbours, one below the other: strips of 8 rows, or of 4 where the image is
// that low.
//   - A row of a strip's window is 4 floats, two loads of 8 bytes, and serves 18 multiply-adds; the
//   window slides over
//     the rows, so it takes 4 registers. 40 words of shared memory for 144 multiply-adds: 3.6 each,
//     90 % of the peak if nothing else took time.
//   - The nine weights of a pair and its offset are three broadcast loads of 16 bytes.
#include <algorithm>

#include "custom_ops/cuda/kernels.cuh"
#include "custom_ops/cuda/tile.cuh"

namespace keras_sparse {
namespace {

constexpr int kPairPixels = 2 * kPlaces;

// sums[row * 2 + column] of one strip.
template <int kStrip>
__device__ KS_INLINE void MultiplyStrip(const float* source, int row_bytes,
                                        const float (&weights)[12], float* sums) {
  KS_UNROLL
  for (int row = 0; row < kStrip + 2; ++row) {
    const float2* words = reinterpret_cast<const float2*>(Further(source, row * row_bytes));
    const float2 left = words[0], right = words[1];
    const float window[4] = {left.x, left.y, right.x, right.y};
    KS_UNROLL
    for (int y = 0; y < 3; ++y) {
      if (row - y < 0 || row - y >= kStrip) continue;
      KS_UNROLL
      for (int x = 0; x < 3; ++x) {
        KS_UNROLL
        for (int column = 0; column < 2; ++column)
          sums[(row - y) * 2 + column] += weights[y * 3 + x] * window[column + x];
      }
    }
  }
}

template <int kStrip>
__device__ KS_INLINE void MultiplyPair(const Plan& plan, const float* tile, const Pair* pair,
                                       float (&sums)[kPairPixels]) {
  const float4* quarters = reinterpret_cast<const float4*>(pair);
  const float4 a = __ldg(quarters), b = __ldg(quarters + 1), c = __ldg(quarters + 2);
  const float weights[12] = {a.x, a.y, a.z, a.w, b.x, b.y, b.z, b.w, c.x};
  const int row_bytes = plan.row_pitch * int{sizeof(float)};
  int offset;
  memcpy(&offset, &c.y, sizeof offset);
  KS_UNROLL
  for (int p = 0; p < kPlaces; p += kStrip)
    MultiplyStrip<kStrip>(Further(tile, offset + plan.place_bytes[p]), row_bytes, weights,
                          sums + 2 * p);
}

// Shared memory: [pixels][slots][tile, or stage].
template <int kChannels, int kStrip>
__global__ void __launch_bounds__(kThreads, kChannels == 4 ? 2 : 3)
    MultiplyPairs(Plan plan, const float* __restrict__ source, Lists lists,
                  float* __restrict__ result) {
  int* pixels = reinterpret_cast<int*>(SharedMemory());
  int* slots = pixels + kLanes * kPairPixels;
  float* tile = reinterpret_cast<float*>(slots + Padded(plan.channel_pitch));
  const Lane at = ThisLane(plan);
  const int group = static_cast<int>(blockIdx.x % plan.groups()) * plan.group,
            first = group + at.warp * kChannels;
  const Place place = PlaceOfTile(plan, blockIdx.x / plan.groups());
  FindSources(plan, place, slots);
  FindResults(plan, place, at, pixels);
  float sums[kChannels][kPairPixels] = {};
  for (int part = 0; part < plan.chunks; ++part) {
    __syncthreads();
    LoadTile(source, slots, plan.channel_pitch, plan.channel_pitch, plan.chunk, part * plan.chunk,
             plan.source_channels, tile);
    const int64_t list = plan.List(0, part, first);
    int counts[kChannels];
    KS_UNROLL
    for (int k = 0; k < kChannels; ++k)
      counts[k] = first + k < plan.result_channels ? __ldg(lists.counts + list + k) : 0;
    __syncthreads();
    KS_UNROLL
    for (int k = 0; k < kChannels; ++k) {
      const Pair* pairs = lists.pairs + (list + k) * plan.room();
      for (int i = 0; i < counts[k]; ++i)
        MultiplyPair<kStrip>(plan, tile + at.slot, pairs + i, sums[k]);
    }
  }
  StoreResults(plan, at, sums, pixels, group, tile, result);
}

}  // namespace

int LaunchMultiplyPairs(const Plan& plan, const float* source, const Lists& lists, float* result,
                        void* stream) {
  const bool high = plan.y.tile >= kPlaces, few = plan.group == kWarps;
  const int tile = std::max(plan.chunk * plan.channel_pitch, StageFloats(plan.group));
  const int64_t shared = int64_t{4} * (plan.pixels() + Padded(plan.channel_pitch) + tile);
  const auto kernel = few    ? high ? MultiplyPairs<1, 8> : MultiplyPairs<1, 4>
                      : high ? MultiplyPairs<4, 8>
                             : MultiplyPairs<4, 4>;
  return Launch(kernel, plan.tiles() * plan.groups(), kThreads, shared, stream, plan, source, lists,
                result);
}

}  // namespace keras_sparse
