// The kernel gradient: sums of a tile for each active weight, and their sum over the parts of the
// pixels.
//
// By lists of weights, an entry takes 8 words of shared memory for 8 multiply-adds of a thread, and
// 9 shuffles for 8 entries: about 12 % of the peak of an H200's multiply-adds less than the
// product's 25 %.
#include "custom_ops/cuda/kernel_gradient.cuh"

namespace keras_sparse {
namespace {

constexpr int kWeightChannels = 4;  // of a warp

// One list: partials[i] = or += its sums over the tile.
template <int kDistance>
__device__ KS_INLINE void SumWeights(const CudaTiling& tiling, const float* tile, const Entry* list,
                                     int count, const float (&gradient)[kPlaces], int lane,
                                     bool add, float* partials) {
  for (int first = 0; first < count; first += 8) {
    float sums[8] = {};
    KS_UNROLL
    for (int i = 0; i < 8; ++i) {
      if (first + i >= count) break;
      const float* source = Further(tile, __ldg(&list[first + i].offset));
      KS_UNROLL
      for (int p = 0; p < kPlaces; ++p)
        sums[i] += gradient[p] * *Further(source, PlaceBytes<kDistance>(tiling, p));
    }
    const float sum = SumOverLanes(sums, lane);
    if (lane < 8 && first + lane < count)
      partials[first + lane] = (add ? partials[first + lane] : 0.0f) + sum;
  }
}

template <int kDistance>
__global__ void __launch_bounds__(kThreads, 3)
    SumTilesOfWeights(CudaTiling tiling, const float* __restrict__ inputs,
                      const float* __restrict__ output_gradient, Lists lists) {
  const GradientMemory memory(tiling);
  const GradientWork work(tiling);
  const Lane at = ThisLane(tiling);
  for (int64_t tile = work.first_tile; tile < work.end_tile; ++tile) {
    LoadGradientTile(tiling, work, at, tile, inputs, output_gradient, memory);
    for (int k = at.warp * kWeightChannels; k < (at.warp + 1) * kWeightChannels; ++k) {
      if (work.group + k >= tiling.result_channels) break;
      float gradient[kPlaces];
      KS_UNROLL
      for (int p = 0; p < kPlaces; ++p)
        gradient[p] = memory.gradients[k * memory.gradient_pitch + p * kWarpLanes + at.lane];
      const int64_t list = tiling.List(0, work.part, work.group + k);
      SumWeights<kDistance>(tiling, memory.inputs + at.slot, lists.entries + list * tiling.room(),
                            __ldg(lists.counts + list), gradient, at.lane, tile != work.first_tile,
                            lists.partials + (work.split * tiling.lists() + list) * tiling.room());
    }
  }
}

// One thread for each sum of a list; of a pair nine.
__global__ void __launch_bounds__(kThreads)
    WriteGradient(CudaTiling tiling, const bool* mask, Lists lists, float* result) {
  const int64_t room = int64_t{tiling.room()} * (tiling.pairs ? kPairTaps : 1),
                all = tiling.lists() * room;
  const int64_t thread = int64_t{blockIdx.x} * kThreads + threadIdx.x, list = thread / room;
  const int at = static_cast<int>(thread % room), taps = tiling.pairs ? kPairTaps : 1;
  if (list >= tiling.lists() || at / taps >= lists.counts[list]) return;
  const int64_t entry = list * tiling.room() + at / taps;
  const int weight = tiling.pairs ? lists.pairs[entry].index + at % taps * tiling.tap_stride
                                  : lists.entries[entry].payload;
  if (!mask[weight]) return;
  float sum = 0;
  KS_UNROLL_4
  for (int64_t split = 0; split < tiling.splits; ++split)
    sum += lists.partials[split * all + thread];
  result[weight] = sum;
}

}  // namespace

int LaunchWeightSums(const CudaTiling& tiling, const float* inputs, const float* output_gradient,
                     const Lists& lists, void* stream) {
  using Kernel = void (*)(CudaTiling, const float*, const float*, Lists);
  const auto kernel =
      ForDistance<Kernel>(tiling, SumTilesOfWeights<0>, SumTilesOfWeights<kWideRows>,
                          SumTilesOfWeights<kRowsOf16>, SumTilesOfWeights<kRowsOf8>);
  return Launch(kernel, GradientBlocks(tiling), kThreads, GradientBytes(tiling), stream, tiling,
                inputs, output_gradient, lists);
}

int LaunchKernelGradient(const CudaTiling& tiling, const float* inputs,
                         const float* output_gradient, const bool* mask, const Lists& lists,
                         float* result, void* stream) {
  const int64_t sums = tiling.lists() * tiling.room() * (tiling.pairs ? kPairTaps : 1);
  const auto sum = tiling.pairs ? LaunchPairSums : LaunchWeightSums;
  if (const int error = sum(tiling, inputs, output_gradient, lists, stream)) return error;
  const int64_t weights = int64_t{tiling.tap_stride} * tiling.y.taps * tiling.x.taps;
  if (const int error = SetToZero(result, weights * sizeof(float), stream)) return error;
  return Launch(WriteGradient, DivideUp(sums, kThreads), kThreads, 0, stream, tiling, mask, lists,
                result);
}

}  // namespace keras_sparse
