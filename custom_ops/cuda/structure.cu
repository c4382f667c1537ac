// The lists of active weights, in the order in which the kernels use them. One thread makes one
// list, in a fixed order: taps, then channels. The mask is read once, the values of active weights
// are gathered on the way.
#include <algorithm>

#include "custom_ops/cuda/kernels.cuh"

namespace keras_sparse {
namespace {

// The list of a thread.
struct ListPlace {
  int residue_y, residue_x, first_channel, end_channel, result_channel;
};

__device__ KS_INLINE ListPlace PlaceOfList(const CudaTiling& tiling, int64_t list) {
  const int64_t row = list / tiling.result_channels;
  const int residue = static_cast<int>(row / tiling.chunks),
            first = static_cast<int>(row % tiling.chunks) * tiling.chunk;
  const int left = tiling.source_channels - first;
  return {residue / tiling.x.residues, residue % tiling.x.residues, first,
          first + (left < tiling.chunk ? left : tiling.chunk),
          static_cast<int>(list % tiling.result_channels)};
}

__device__ KS_INLINE int64_t ThisThread() { return int64_t{blockIdx.x} * kThreads + threadIdx.x; }

__device__ KS_INLINE int Bits(float value) {
  int bits;
  memcpy(&bits, &value, sizeof bits);
  return bits;
}

__global__ void __launch_bounds__(kThreads)
    BuildWeightLists(CudaTiling tiling, const bool* mask, const float* kernel, Lists lists) {
  const int64_t list = ThisThread();
  if (list >= tiling.lists()) return;
  const ListPlace at = PlaceOfList(tiling, list);
  Entry* entries = lists.entries + list * tiling.room();
  int count = 0;
  for (int y = at.residue_y; y < tiling.y.taps; y += tiling.y.tap_step())
    for (int x = at.residue_x; x < tiling.x.taps; x += tiling.x.tap_step()) {
      const int slot = tiling.y.Slot(y) * tiling.row_pitch + tiling.x.Slot(x);
      const int tap =
          (y * tiling.x.taps + x) * tiling.tap_stride + at.result_channel * tiling.result_stride;
      KS_UNROLL_4
      for (int channel = at.first_channel; channel < at.end_channel; ++channel) {
        const int weight = tap + channel * tiling.source_stride;
        if (!mask[weight]) continue;
        const int payload = kernel == nullptr ? weight : Bits(__ldg(kernel + weight));
        entries[count++] = {
            ((channel - at.first_channel) * tiling.channel_pitch + slot) * int{sizeof(float)},
            payload};
      }
    }
  lists.counts[list] = count;
}

// The taps of a pair, 0 where the mask has none; false if it has none at all.
__device__ KS_INLINE bool GatherPair(const CudaTiling& tiling, const bool* mask,
                                     const float* kernel, int first, Pair* pair) {
  bool any = false;
  KS_UNROLL
  for (int i = 0; i < kPairTaps; ++i) {
    const int weight = first + (tiling.y.transposed ? kPairTaps - 1 - i : i) * tiling.tap_stride;
    const bool active = mask[weight];
    pair->weights[i] = active && kernel != nullptr ? __ldg(kernel + weight) : 0.0f;
    any = any || active;
  }
  return any;
}

__global__ void __launch_bounds__(kThreads)
    BuildPairLists(CudaTiling tiling, const bool* mask, const float* kernel, Lists lists) {
  const int64_t list = ThisThread();
  if (list >= tiling.lists()) return;
  const ListPlace at = PlaceOfList(tiling, list);
  Pair* pairs = lists.pairs + list * tiling.room();
  int count = 0;
  for (int channel = at.first_channel; channel < at.end_channel; ++channel) {
    Pair pair;
    pair.index = channel * tiling.source_stride + at.result_channel * tiling.result_stride;
    pair.offset = (channel - at.first_channel) * tiling.channel_pitch * int{sizeof(float)};
    pair.unused = 0;
    if (GatherPair(tiling, mask, kernel, pair.index, &pair)) pairs[count++] = pair;
  }
  lists.counts[list] = count;
}

int64_t ListBytes(const CudaTiling& tiling) {
  return AlignedBytes(tiling.lists() * tiling.room() *
                      (tiling.pairs ? sizeof(Pair) : sizeof(Entry)));
}

}  // namespace

int64_t WorkspaceBytes(Product product, const CudaTiling& tiling) {
  const int64_t sums =
      tiling.lists() * tiling.room() * (tiling.pairs ? kPairTaps : 1) * tiling.splits;
  return ListBytes(tiling) + AlignedBytes(tiling.lists() * sizeof(int)) +
         (product == Product::kKernelGradient ? AlignedBytes(sums * sizeof(float)) : 0);
}

Lists ListsIn(void* workspace, const CudaTiling& tiling) {
  char* bytes = static_cast<char*>(workspace);
  Lists lists = {reinterpret_cast<Entry*>(bytes), reinterpret_cast<Pair*>(bytes), nullptr, nullptr};
  bytes += ListBytes(tiling);
  lists.counts = reinterpret_cast<int*>(bytes);
  lists.partials = reinterpret_cast<float*>(bytes + AlignedBytes(tiling.lists() * sizeof(int)));
  return lists;
}

int LaunchBuildLists(const CudaTiling& tiling, const bool* mask, const float* kernel,
                     const Lists& lists, void* stream) {
  const int64_t blocks = DivideUp(tiling.lists(), kThreads);
  return Launch(tiling.pairs ? BuildPairLists : BuildWeightLists, blocks, kThreads, 0, stream,
                tiling, mask, kernel, lists);
}

}  // namespace keras_sparse
