// Which weights are active, in the order in which the kernels use them? One thread makes one list,
// in a fixed order: taps, then channels. The mask is read once, the values of active weights are
// gathered on the way.
#include <algorithm>

#include "custom_ops/cuda/kernels.cuh"

namespace keras_sparse {
namespace {

// The list of a thread.
struct ListPlace {
  int residue_y, residue_x, first_channel, end_channel, result_channel;
};

__device__ KS_INLINE ListPlace PlaceOfList(const Plan& plan, int64_t list) {
  const int64_t row = list / plan.result_channels;
  const int residue = static_cast<int>(row / plan.chunks),
            first = static_cast<int>(row % plan.chunks) * plan.chunk;
  const int left = plan.source_channels - first;
  return {residue / plan.x.residues, residue % plan.x.residues, first,
          first + (left < plan.chunk ? left : plan.chunk),
          static_cast<int>(list % plan.result_channels)};
}

__device__ KS_INLINE int64_t ThisThread() { return int64_t{blockIdx.x} * kThreads + threadIdx.x; }

__device__ KS_INLINE int Bits(float value) {
  int bits;
  memcpy(&bits, &value, sizeof bits);
  return bits;
}

__global__ void __launch_bounds__(kThreads)
    BuildWeightLists(Plan plan, const bool* mask, const float* kernel, Lists lists) {
  const int64_t list = ThisThread();
  if (list >= plan.lists()) return;
  const ListPlace at = PlaceOfList(plan, list);
  Entry* entries = lists.entries + list * plan.room();
  int count = 0;
  for (int y = at.residue_y; y < plan.y.taps; y += plan.y.tap_step())
    for (int x = at.residue_x; x < plan.x.taps; x += plan.x.tap_step()) {
      const int slot = plan.y.Slot(y) * plan.row_pitch + plan.x.Slot(x);
      const int tap =
          (y * plan.x.taps + x) * plan.tap_stride + at.result_channel * plan.result_stride;
      KS_UNROLL_4
      for (int channel = at.first_channel; channel < at.end_channel; ++channel) {
        const int weight = tap + channel * plan.source_stride;
        if (!mask[weight]) continue;
        const int payload = kernel == nullptr ? weight : Bits(__ldg(kernel + weight));
        entries[count++] = {
            ((channel - at.first_channel) * plan.channel_pitch + slot) * int{sizeof(float)},
            payload};
      }
    }
  lists.counts[list] = count;
}

// The taps of a pair, 0 where the mask has none; false if it has none at all.
__device__ KS_INLINE bool GatherPair(const Plan& plan, const bool* mask, const float* kernel,
                                     int first, Pair* pair) {
  bool any = false;
  KS_UNROLL
  for (int i = 0; i < kPairTaps; ++i) {
    const int weight = first + (plan.y.transposed ? kPairTaps - 1 - i : i) * plan.tap_stride;
    const bool active = mask[weight];
    pair->weights[i] = active && kernel != nullptr ? __ldg(kernel + weight) : 0.0f;
    any = any || active;
  }
  return any;
}

__global__ void __launch_bounds__(kThreads)
    BuildPairLists(Plan plan, const bool* mask, const float* kernel, Lists lists) {
  const int64_t list = ThisThread();
  if (list >= plan.lists()) return;
  const ListPlace at = PlaceOfList(plan, list);
  Pair* pairs = lists.pairs + list * plan.room();
  int count = 0;
  for (int channel = at.first_channel; channel < at.end_channel; ++channel) {
    Pair pair;
    pair.index = channel * plan.source_stride + at.result_channel * plan.result_stride;
    pair.offset = (channel - at.first_channel) * plan.channel_pitch * int{sizeof(float)};
    pair.unused = 0;
    if (GatherPair(plan, mask, kernel, pair.index, &pair)) pairs[count++] = pair;
  }
  lists.counts[list] = count;
}

int64_t Aligned(int64_t bytes) { return (bytes + 255) / 256 * 256; }

int64_t ListBytes(const Plan& plan) {
  return Aligned(plan.lists() * plan.room() * (plan.pairs ? sizeof(Pair) : sizeof(Entry)));
}

}  // namespace

int64_t WorkspaceBytes(Product product, const Plan& plan) {
  const int64_t sums = plan.lists() * plan.room() * (plan.pairs ? kPairTaps : 1) * plan.splits;
  return ListBytes(plan) + Aligned(plan.lists() * sizeof(int)) +
         (product == Product::kKernelGradient ? Aligned(sums * sizeof(float)) : 0);
}

Lists ListsIn(void* workspace, const Plan& plan) {
  char* bytes = static_cast<char*>(workspace);
  Lists lists = {reinterpret_cast<Entry*>(bytes), reinterpret_cast<Pair*>(bytes), nullptr, nullptr};
  bytes += ListBytes(plan);
  lists.counts = reinterpret_cast<int*>(bytes);
  lists.partials = reinterpret_cast<float*>(bytes + Aligned(plan.lists() * sizeof(int)));
  return lists;
}

int LaunchBuildLists(const Plan& plan, const bool* mask, const float* kernel, const Lists& lists,
                     void* stream) {
  const int64_t blocks = (plan.lists() + kThreads - 1) / kThreads;
  return Launch(plan.pairs ? BuildPairLists : BuildWeightLists, blocks, kThreads, 0, stream, plan,
                mask, kernel, lists);
}

}  // namespace keras_sparse
