// The kernel gradient by lists of channel pairs, for 3x3 kernels: the nine sums of a pair over a
// tile at once.
//
// As in cuda_pair_product.cu, a window of 4 floats slides over the rows of a strip: 40 words of
// shared memory for 144 multiply-adds, and 14 shuffles.
#include "custom_ops/cuda/kernel_gradient.cuh"

namespace keras_sparse {
namespace {

constexpr int kGradientPixels = 2 * kPlaces, kPairChannels = 2;  // of a thread, of a warp

// One list: partials[i * 9 + tap] = or += its sums over the tile.
template <int kStrip>
__device__ KS_INLINE void SumPairs(const CudaTiling& tiling, const float* tile, const Pair* pairs,
                                   int count, const float (&gradient)[kGradientPixels], int lane,
                                   bool add, float* partials) {
  for (int i = 0; i < count; ++i, partials += kPairTaps) {
    const float* source = Further(tile, __ldg(&pairs[i].offset));
    float sums[kPairTaps] = {};
    KS_UNROLL
    for (int p = 0; p < kPlaces; p += kStrip)
      ForEachOfStrip<kStrip>(
          Further(source, tiling.place_bytes[p]), tiling.row_pitch * int{sizeof(float)},
          [&](int tap, int pixel, float value) { sums[tap] += gradient[2 * p + pixel] * value; });
    float eight[8], last = sums[8];
    KS_UNROLL
    for (int tap = 0; tap < 8; ++tap) eight[tap] = sums[tap];
    const float sum = SumOverLanes(eight, lane);
    KS_UNROLL
    for (int lanes = 1; lanes < kWarpLanes; lanes *= 2)
      last += __shfl_xor_sync(0xffffffffu, last, lanes);
    if (lane < kPairTaps) partials[lane] = (add ? partials[lane] : 0.0f) + (lane == 8 ? last : sum);
  }
}

template <int kStrip>
__global__ void __launch_bounds__(kThreads, 3)
    SumTilesOfPairs(CudaTiling tiling, const float* __restrict__ inputs,
                    const float* __restrict__ output_gradient, Lists lists) {
  const GradientMemory memory(tiling);
  const GradientWork work(tiling);
  const Lane at = ThisLane(tiling);
  for (int64_t tile = work.first_tile; tile < work.end_tile; ++tile) {
    LoadGradientTile(tiling, work, at, tile, inputs, output_gradient, memory);
    for (int k = at.warp * kPairChannels; k < (at.warp + 1) * kPairChannels; ++k) {
      if (work.group + k >= tiling.result_channels) break;
      float gradient[kGradientPixels];
      KS_UNROLL
      for (int q = 0; q < kGradientPixels; ++q)
        gradient[q] = memory.gradients[k * memory.gradient_pitch + q * kWarpLanes + at.lane];
      const int64_t list = tiling.List(0, work.part, work.group + k);
      SumPairs<kStrip>(
          tiling, memory.inputs + at.slot, lists.pairs + list * tiling.room(),
          __ldg(lists.counts + list), gradient, at.lane, tile != work.first_tile,
          lists.partials + (work.split * tiling.lists() + list) * tiling.room() * kPairTaps);
    }
  }
}

}  // namespace

int LaunchPairSums(const CudaTiling& tiling, const float* inputs, const float* output_gradient,
                   const Lists& lists, void* stream) {
  return Launch(tiling.y.tile >= kPlaces ? SumTilesOfPairs<8> : SumTilesOfPairs<4>,
                GradientBlocks(tiling), kThreads, GradientBytes(tiling), stream, tiling, inputs,
                output_gradient, lists);
}

}  // namespace keras_sparse
