// The kernel gradient by lists of channel pairs, for 3x3 kernels: the nine sums of a pair over a
// tile at once.
//
// As in cuda_pair_product.cu, a window of 4 floats slides over the rows of a strip: 40 words of
// shared memory for 144 multiply-adds, and 14 shuffles.
#include "custom_ops/cuda/kernel_gradient.cuh"

namespace keras_sparse {
namespace {

constexpr int kGradientPixels = 2 * kPlaces, kPairChannels = 2;  // of a thread, of a warp

// sums[y * 3 + x] += gradient * source, over one strip.
template <int kStrip>
__device__ KS_INLINE void SumStrip(const float* source, int row_bytes, const float* gradient,
                                   float (&sums)[9]) {
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
          sums[y * 3 + x] += gradient[(row - y) * 2 + column] * window[column + x];
      }
    }
  }
}

// One list: partials[i * 9 + tap] = or += its sums over the tile.
template <int kStrip>
__device__ KS_INLINE void SumPairs(const Plan& plan, const float* tile, const Pair* pairs,
                                   int count, const float (&gradient)[kGradientPixels], int lane,
                                   bool add, float* partials) {
  for (int i = 0; i < count; ++i, partials += kPairTaps) {
    const float* source = Further(tile, __ldg(&pairs[i].offset));
    float sums[kPairTaps] = {};
    KS_UNROLL
    for (int p = 0; p < kPlaces; p += kStrip)
      SumStrip<kStrip>(Further(source, plan.place_bytes[p]), plan.row_pitch * int{sizeof(float)},
                       gradient + 2 * p, sums);
    float eight[8], last = sums[8];
    KS_UNROLL
    for (int tap = 0; tap < 8; ++tap) eight[tap] = sums[tap];
    const float sum = SumOverLanes(eight, lane);
    KS_UNROLL
    for (int lanes = 1; lanes < kLanes; lanes *= 2)
      last += __shfl_xor_sync(0xffffffffu, last, lanes);
    if (lane < kPairTaps) partials[lane] = (add ? partials[lane] : 0.0f) + (lane == 8 ? last : sum);
  }
}

template <int kStrip>
__global__ void __launch_bounds__(kThreads, 3)
    SumTilesOfPairs(Plan plan, const float* __restrict__ inputs,
                    const float* __restrict__ output_gradient, Lists lists) {
  const GradientMemory memory(plan);
  const GradientWork work(plan);
  const Lane at = ThisLane(plan);
  for (int64_t tile = work.first_tile; tile < work.end_tile; ++tile) {
    LoadGradientTile(plan, work, at, tile, inputs, output_gradient, memory);
    for (int k = at.warp * kPairChannels; k < (at.warp + 1) * kPairChannels; ++k) {
      if (work.group + k >= plan.result_channels) break;
      float gradient[kGradientPixels];
      KS_UNROLL
      for (int q = 0; q < kGradientPixels; ++q)
        gradient[q] = memory.gradients[k * memory.gradient_pitch + q * kLanes + at.lane];
      const int64_t list = plan.List(0, work.part, work.group + k);
      SumPairs<kStrip>(
          plan, memory.inputs + at.slot, lists.pairs + list * plan.room(),
          __ldg(lists.counts + list), gradient, at.lane, tile != work.first_tile,
          lists.partials + (work.split * plan.lists() + list) * plan.room() * kPairTaps);
    }
  }
}

}  // namespace

int LaunchPairSums(const Plan& plan, const float* inputs, const float* output_gradient,
                   const Lists& lists, void* stream) {
  return Launch(plan.y.tile >= kPlaces ? SumTilesOfPairs<8> : SumTilesOfPairs<4>,
                GradientBlocks(plan), kThreads, GradientBytes(plan), stream, plan, inputs,
                output_gradient, lists);
}

}  // namespace keras_sparse
