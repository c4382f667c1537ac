#include "custom_ops/cpu/active_blocks.h"

#include <algorithm>

#include "custom_ops/contract/numbers.h"

namespace keras_sparse {
namespace {

// Of the multiplications, at least this share must be by weights that the kernel has.
constexpr double kLeastShare = 0.6;

struct Size {
  int32_t in, out;
};
#define KS_SIZE(S, O) {S, O},
constexpr Size kSizes[] = {KS_FOR_BLOCKS(KS_SIZE)};
#undef KS_SIZE

// Active weights by [tap][input block][output block]. The mask is read in order, so one division
// for each run of weights of one input channel is enough.
std::vector<uint8_t> ActivePerBlock(const PackedMask& mask, const ConvSizes& s,
                                    const BlockGrid& g) {
  std::vector<uint8_t> counts(g.taps * g.in_blocks * g.out_blocks);
  int64_t row = -1, row_end = 0, first = 0;
  mask.ForEachActive([&](int64_t weight) {
    if (weight >= row_end) {
      row = weight / s.out_channels;  // tap * in_channels + input channel
      row_end = (row + 1) * s.out_channels;
      first = (row / s.in_channels * g.in_blocks + row % s.in_channels / g.in) * g.out_blocks;
    }
    ++counts[first + (weight - row * s.out_channels) / g.out];
  });
  return counts;
}

std::optional<BlockGrid> Whole(const PackedMask& mask, const ConvSizes& s, Size size) {
  BlockGrid g = {size.in,
                 size.out,
                 s.kernel_height * s.kernel_width,
                 DivideUp(s.in_channels, int64_t{size.in}),
                 DivideUp(s.out_channels, int64_t{size.out}),
                 {},
                 0};
  const std::vector<uint8_t> counts = ActivePerBlock(mask, s, g);
  g.active.resize(counts.size());
  int64_t weights = 0, index = 0;
  for (int64_t tap = 0; tap < g.taps; ++tap)
    for (int64_t in = 0; in < g.in_blocks; ++in)
      for (int64_t out = 0; out < g.out_blocks; ++out, ++index) {
        if (counts[index] == 0) continue;
        const int64_t ins = std::min<int64_t>(g.in, s.in_channels - in * g.in),
                      outs = std::min<int64_t>(g.out, s.out_channels - out * g.out);
        if (counts[index] != ins * outs) return std::nullopt;
        g.active[index] = true;
        ++g.count;
        weights += counts[index];
      }
  if (weights < kLeastShare * g.count * g.in * g.out) return std::nullopt;
  return g;
}

}  // namespace

std::optional<BlockGrid> FindBlocks(const PackedMask& mask, const ConvSizes& sizes) {
  for (const Size& size : kSizes)
    if (auto grid = Whole(mask, sizes, size)) return grid;
  return std::nullopt;
}

BlockList MakeBlockList(const BlockGrid& grid, const ConvSizes& s, const Lattice& lattice,
                        const PackedPixels& packed, const BlockListSettings& settings) {
  const bool transposed = settings.transposed;
  const int64_t summed_blocks = transposed ? grid.out_blocks : grid.in_blocks,
                output_blocks = transposed ? grid.in_blocks : grid.out_blocks;
  const int32_t summed = transposed ? grid.out : grid.in;
  BlockList list;
  for (int32_t part = 0; part <= settings.parts; ++part)
    list.part_outputs.push_back(
        static_cast<int32_t>(SliceBegin(output_blocks, part, settings.parts)));
  for (int32_t part = 0; part < settings.parts; ++part) {
    list.first_segment.push_back(list.segments.size());
    list.first_active.push_back(list.offsets.size());
    for (int64_t chunk = 0; chunk < summed_blocks; chunk += settings.chunk_blocks) {
      const int64_t end = std::min(chunk + settings.chunk_blocks, summed_blocks);
      for (int64_t out = list.part_outputs[part]; out < list.part_outputs[part + 1]; ++out) {
        const size_t first = list.offsets.size();
        for (int64_t sum = chunk; sum < end; ++sum)
          for (size_t i = 0; i < lattice.taps.size(); ++i) {
            const int64_t tap = lattice.taps[i].index, in = transposed ? out : sum,
                          other = transposed ? sum : out;
            if (!grid.Has(tap, in, other)) continue;
            const int64_t weight =
                (tap * s.in_channels + in * grid.in) * s.out_channels + other * grid.out;
            list.blocks.push_back(
                {static_cast<int32_t>(weight), static_cast<int32_t>(list.offsets.size()),
                 static_cast<int16_t>(std::min<int64_t>(grid.in, s.in_channels - in * grid.in)),
                 static_cast<int16_t>(
                     std::min<int64_t>(grid.out, s.out_channels - other * grid.out))});
            list.offsets.push_back(
                static_cast<int32_t>((sum * summed * settings.channel_floats +
                                      packed.tap_slot[i] * settings.slot_floats) *
                                     int64_t{sizeof(float)}));
          }
        list.segments.push_back(
            {static_cast<int32_t>(out), static_cast<int32_t>(list.offsets.size() - first)});
      }
    }
  }
  list.first_segment.push_back(list.segments.size());
  list.first_active.push_back(list.offsets.size());
  std::sort(
      list.blocks.begin(), list.blocks.end(),
      [](const BlockList::Block& a, const BlockList::Block& b) { return a.weight < b.weight; });
  return list;
}

}  // namespace keras_sparse
