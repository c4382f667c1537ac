#include "custom_ops/cpu/active_list.h"

#include <algorithm>
#include <mutex>
#include <tuple>
#include <utility>

#include "custom_ops/contract/numbers.h"

namespace keras_sparse {
namespace {

// Calls use(tap of the kernel, channel summed over, output channel, weight) for each active weight.
template <class Use>
void ForEach(const PackedMask& mask, const ConvSizes& s, bool transposed, Use use) {
  const int64_t per_tap = s.in_channels * s.out_channels;
  mask.ForEachActive([&](int64_t weight) {
    const int64_t in = weight % per_tap / s.out_channels, out = weight % s.out_channels;
    use(weight / per_tap, transposed ? out : in, transposed ? in : out, weight);
  });
}

std::vector<int32_t> PartOutputs(int64_t outputs, int32_t parts) {
  std::vector<int32_t> first;
  const int64_t vectors = DivideUp(outputs, 16);
  for (int32_t part = 0; part <= parts; ++part)
    first.push_back(static_cast<int32_t>(std::min(outputs, SliceBegin(vectors, part, parts) * 16)));
  return first;
}

// Of every output channel in every list: its active weights, then the place of the first of them.
// Within a list channels of as many weights follow each other, so that the processor foresees the
// ends of the loops.
class Segments {
 public:
  Segments(int64_t outputs, int32_t chunks)
      : outputs_(outputs), chunks_(chunks), counts_(outputs * chunks) {}

  int64_t& At(int32_t chunk, int64_t output) { return counts_[chunk * outputs_ + output]; }

  void Arrange(ActiveList& list) {
    int64_t active = 0;
    for (size_t part = 0; part + 1 < list.part_outputs.size(); ++part)
      for (int32_t chunk = 0; chunk < chunks_; ++chunk) {
        list.first_segment.push_back(list.segments.size());
        list.first_active.push_back(active);
        ArrangeList(list, chunk, list.part_outputs[part], list.part_outputs[part + 1], active);
      }
    list.first_segment.push_back(list.segments.size());
    list.first_active.push_back(active);
  }

 private:
  void ArrangeList(ActiveList& list, int32_t chunk, int32_t first, int32_t end, int64_t& active) {
    const size_t begin = list.segments.size();
    for (int32_t output = first; output < end; ++output)
      if (chunk == 0 || At(chunk, output) > 0)
        list.segments.push_back({output, static_cast<int32_t>(At(chunk, output))});
    std::stable_sort(list.segments.begin() + begin, list.segments.end(),
                     [](const Segment& a, const Segment& b) { return a.count < b.count; });
    for (size_t i = begin; i < list.segments.size(); ++i) {
      At(chunk, list.segments[i].output) = active;
      active += list.segments[i].count;
      list.longest_segment = std::max(list.longest_segment, list.segments[i].count);
    }
  }

  int64_t outputs_;
  int32_t chunks_;
  std::vector<int64_t> counts_;
};

bool AreEqual(const ActiveList& a, const ActiveList& b) {
  const auto all = [](const ActiveList& list) {
    return std::tie(list.part_outputs, list.first_segment, list.first_active, list.offsets,
                    list.longest_segment, list.weight, list.place);
  };
  const auto are_equal = [](const Segment& one, const Segment& other) {
    return one.output == other.output && one.count == other.count;
  };
  return all(a) == all(b) && std::equal(a.segments.begin(), a.segments.end(), b.segments.begin(),
                                        b.segments.end(), are_equal);
}

// An equal list that a plan holds, or else this one. Any number of threads may ask.
std::shared_ptr<const ActiveList> Shared(ActiveList list) {
  static auto* const mutex = new std::mutex;  // plans may end after main()
  static auto* const held = new std::vector<std::weak_ptr<const ActiveList>>;
  const std::lock_guard<std::mutex> lock(*mutex);
  std::shared_ptr<const ActiveList> found;
  const auto is_ended = [&](const std::weak_ptr<const ActiveList>& each) {
    const auto other = each.lock();
    if (other != nullptr && AreEqual(*other, list)) found = other;
    return other == nullptr;
  };
  held->erase(std::remove_if(held->begin(), held->end(), is_ended), held->end());
  if (found != nullptr) return found;
  found = std::make_shared<const ActiveList>(std::move(list));
  held->push_back(found);
  return found;
}

}  // namespace

std::shared_ptr<const ActiveList> MakeActiveList(const PackedMask& mask, const ConvSizes& s,
                                                 bool transposed, const Lattice& lattice,
                                                 const PackedPixels& packed, const Tiling& tiling,
                                                 int lanes) {
  const int64_t summed = transposed ? s.out_channels : s.in_channels,
                outputs = transposed ? s.in_channels : s.out_channels;
  const int32_t chunks =
      static_cast<int32_t>(std::max<int64_t>(1, DivideUp(summed, tiling.chunk_channels)));
  std::vector<int32_t> slot_of_tap(s.kernel_height * s.kernel_width,
                                   -1);  // -1: not of this lattice
  for (size_t i = 0; i < lattice.taps.size(); ++i)
    slot_of_tap[lattice.taps[i].index] = packed.tap_slot[i];

  ActiveList list;
  list.part_outputs = PartOutputs(outputs, tiling.parts);
  Segments segments(outputs, chunks);
  ForEach(mask, s, transposed, [&](int64_t tap, int64_t channel, int64_t output, int64_t) {
    if (slot_of_tap[tap] >= 0)
      ++segments.At(static_cast<int32_t>(channel / tiling.chunk_channels), output);
  });
  segments.Arrange(list);
  list.offsets.resize(list.first_active.back());
  list.weight.reserve(list.first_active.back());
  list.place.reserve(list.first_active.back());
  ForEach(mask, s, transposed, [&](int64_t tap, int64_t channel, int64_t output, int64_t weight) {
    if (slot_of_tap[tap] < 0) return;
    const int64_t place =
        segments.At(static_cast<int32_t>(channel / tiling.chunk_channels), output)++;
    const int64_t vector = channel % tiling.chunk_channels * packed.slots + slot_of_tap[tap];
    list.offsets[place] = static_cast<int32_t>(vector * lanes * sizeof(float));
    list.weight.push_back(static_cast<int32_t>(weight));
    list.place.push_back(static_cast<int32_t>(place));
  });
  list.segments.shrink_to_fit();
  return Shared(std::move(list));
}

std::vector<int64_t> ActivePerTap(const PackedMask& mask, const ConvSizes& s) {
  std::vector<int64_t> active(s.kernel_height * s.kernel_width);
  mask.ForEachActive([&](int64_t weight) { ++active[weight / (s.in_channels * s.out_channels)]; });
  return active;
}

}  // namespace keras_sparse
