// The product by lists of weights: forward, and input gradient.
//
// A block: a tile of 256 pixels by 32 result channels (8 where the GPU would not be full). A chunk
// of source channels lies in shared memory as [channel][slot]; a warp computes the whole tile for 4
// channels, 8 pixels a thread.
//   - An entry of a list is the same for all lanes: one broadcast load for 8 multiply-adds of a
//   thread. Each of these
//     needs one word of shared memory, which is the limit: one of four issue slots, 25 % of the
//     peak, 15 TFLOP/s on an H200. The multiply-add takes one more, the address another one for
//     unusual tiles, so issue is not the limit.
//   - Lanes read 32 different banks, whatever the tap (cuda_plan.cu chooses pitches so).
//   - 80 registers and up to 72 KB of shared memory: three blocks on a multiprocessor hide each
//   other's loads.
#include <algorithm>

#include "custom_ops/cuda/kernels.cuh"
#include "custom_ops/cuda/tile.cuh"

namespace keras_sparse {
namespace {

// sums[place] += weight * source, for one entry. `tile` is where the lane begins.
template <int kDistance>
__device__ KS_INLINE void MultiplyEntry(const CudaTiling& tiling, const float* tile, int offset,
                                        int bits, float (&sums)[kPlaces]) {
  float weight;
  memcpy(&weight, &bits, sizeof weight);
  const float* source = Further(tile, offset);
  KS_UNROLL
  for (int p = 0; p < kPlaces; ++p)
    sums[p] += weight * *Further(source, PlaceBytes<kDistance>(tiling, p));
}

// Two entries are one load of 16 bytes: lists begin at even places.
template <int kDistance>
__device__ KS_INLINE void MultiplyList(const CudaTiling& tiling, const float* tile,
                                       const Entry* list, int count, float (&sums)[kPlaces]) {
  const int4* twos = reinterpret_cast<const int4*>(list);
  KS_UNROLL_4
  for (int i = 0; i < count / 2; ++i) {
    const int4 two = __ldg(twos + i);
    MultiplyEntry<kDistance>(tiling, tile, two.x, two.y, sums);
    MultiplyEntry<kDistance>(tiling, tile, two.z, two.w, sums);
  }
  if (count % 2 == 0) return;
  const int2 last = __ldg(reinterpret_cast<const int2*>(list + count - 1));
  MultiplyEntry<kDistance>(tiling, tile, last.x, last.y, sums);
}

// Shared memory: [pixels][slots][tile, or stage].
template <int kChannels, int kDistance>
__global__ void __launch_bounds__(kThreads, kChannels == 4 ? 3 : 4)
    MultiplyWeights(CudaTiling tiling, const float* __restrict__ source, Lists lists,
                    float* __restrict__ result) {
  int* pixels = reinterpret_cast<int*>(SharedMemory());
  int* slots = pixels + kWarpLanes * kPlaces;
  float* tile = reinterpret_cast<float*>(slots + Padded(tiling.channel_pitch));
  const Lane at = ThisLane(tiling);
  const int group = static_cast<int>(blockIdx.x % tiling.groups()) * tiling.group;
  const Place place = PlaceOfTile(tiling, blockIdx.x / tiling.groups());
  const int residue = ResidueOf(tiling, place), first = group + at.warp * kChannels;
  FindSources(tiling, place, slots);
  FindResults(tiling, place, at, pixels);
  float sums[kChannels][kPlaces] = {};
  for (int part = 0; part < tiling.chunks && residue >= 0; ++part) {
    __syncthreads();
    LoadTile(source, slots, tiling.channel_pitch, tiling.channel_pitch, tiling.chunk,
             part * tiling.chunk, tiling.source_channels, tile);
    const int64_t list = tiling.List(residue, part, first);
    int counts[kChannels];
    KS_UNROLL
    for (int k = 0; k < kChannels; ++k)
      counts[k] = first + k < tiling.result_channels ? __ldg(lists.counts + list + k) : 0;
    __syncthreads();
    KS_UNROLL
    for (int k = 0; k < kChannels; ++k)
      MultiplyList<kDistance>(tiling, tile + at.slot, lists.entries + (list + k) * tiling.room(),
                              counts[k], sums[k]);
  }
  StoreResults(tiling, at, sums, pixels, group, tile, result);
}

using MultiplyKernel = void (*)(CudaTiling, const float*, Lists, float*);

template <int kChannels>
MultiplyKernel KernelFor(const CudaTiling& tiling) {
  return ForDistance<MultiplyKernel>(
      tiling, MultiplyWeights<kChannels, 0>, MultiplyWeights<kChannels, kWideRows>,
      MultiplyWeights<kChannels, kRowsOf16>, MultiplyWeights<kChannels, kRowsOf8>);
}

}  // namespace

int LaunchMultiply(const CudaTiling& tiling, const float* source, const Lists& lists, float* result,
                   void* stream) {
  if (tiling.pairs) return LaunchMultiplyPairs(tiling, source, lists, result, stream);
  const int tile = std::max(tiling.chunk * tiling.channel_pitch, StageFloats(tiling.group));
  const int64_t shared = int64_t{4} * (tiling.pixels() + Padded(tiling.channel_pitch) + tile);
  const auto kernel = tiling.group == kWarps ? KernelFor<1>(tiling) : KernelFor<4>(tiling);
  return Launch(kernel, tiling.tiles() * tiling.groups(), kThreads, shared, stream, tiling, source,
                lists, result);
}

}  // namespace keras_sparse
