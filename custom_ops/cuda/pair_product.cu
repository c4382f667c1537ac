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

template <int kStrip>
__device__ KS_INLINE void MultiplyPair(const CudaTiling& tiling, const float* tile,
                                       const Pair* pair, float (&sums)[kPairPixels]) {
  const float4* quarters = reinterpret_cast<const float4*>(pair);
  const float4 a = __ldg(quarters), b = __ldg(quarters + 1), c = __ldg(quarters + 2);
  const float weights[12] = {a.x, a.y, a.z, a.w, b.x, b.y, b.z, b.w, c.x};
  const int row_bytes = tiling.row_pitch * int{sizeof(float)};
  int offset;
  memcpy(&offset, &c.y, sizeof offset);
  KS_UNROLL
  for (int p = 0; p < kPlaces; p += kStrip)
    ForEachOfStrip<kStrip>(
        Further(tile, offset + tiling.place_bytes[p]), row_bytes,
        [&](int tap, int pixel, float value) { sums[2 * p + pixel] += weights[tap] * value; });
}

// Shared memory: [pixels][slots][tile, or stage].
template <int kChannels, int kStrip>
__global__ void __launch_bounds__(kThreads, kChannels == 4 ? 2 : 3)
    MultiplyPairs(CudaTiling tiling, const float* __restrict__ source, Lists lists,
                  float* __restrict__ result) {
  int* pixels = reinterpret_cast<int*>(SharedMemory());
  int* slots = pixels + kWarpLanes * kPairPixels;
  float* tile = reinterpret_cast<float*>(slots + Padded(tiling.channel_pitch));
  const Lane at = ThisLane(tiling);
  const int group = static_cast<int>(blockIdx.x % tiling.groups()) * tiling.group,
            first = group + at.warp * kChannels;
  const Place place = PlaceOfTile(tiling, blockIdx.x / tiling.groups());
  FindSources(tiling, place, slots);
  FindResults(tiling, place, at, pixels);
  float sums[kChannels][kPairPixels] = {};
  for (int part = 0; part < tiling.chunks; ++part) {
    __syncthreads();
    LoadTile(source, slots, tiling.channel_pitch, tiling.channel_pitch, tiling.chunk,
             part * tiling.chunk, tiling.source_channels, tile);
    const int64_t list = tiling.List(0, part, first);
    int counts[kChannels];
    KS_UNROLL
    for (int k = 0; k < kChannels; ++k)
      counts[k] = first + k < tiling.result_channels ? __ldg(lists.counts + list + k) : 0;
    __syncthreads();
    KS_UNROLL
    for (int k = 0; k < kChannels; ++k) {
      const Pair* pairs = lists.pairs + (list + k) * tiling.room();
      for (int i = 0; i < counts[k]; ++i)
        MultiplyPair<kStrip>(tiling, tile + at.slot, pairs + i, sums[k]);
    }
  }
  StoreResults(tiling, at, sums, pixels, group, tile, result);
}

}  // namespace

int LaunchMultiplyPairs(const CudaTiling& tiling, const float* source, const Lists& lists,
                        float* result, void* stream) {
  const bool high = tiling.y.tile >= kPlaces, few = tiling.group == kWarps;
  const int tile = std::max(tiling.chunk * tiling.channel_pitch, StageFloats(tiling.group));
  const int64_t shared = int64_t{4} * (tiling.pixels() + Padded(tiling.channel_pitch) + tile);
  const auto kernel = few    ? high ? MultiplyPairs<1, 8> : MultiplyPairs<1, 4>
                      : high ? MultiplyPairs<4, 8>
                             : MultiplyPairs<4, 4>;
  return Launch(kernel, tiling.tiles() * tiling.groups(), kThreads, shared, stream, tiling, source,
                lists, result);
}

}  // namespace keras_sparse
