#include "custom_ops/cpu/block_kernel.h"

#include <algorithm>
#include <cstring>

#include "custom_ops/contract/numbers.h"
#include "custom_ops/cpu/thread_memory.h"

namespace keras_sparse {
namespace {

BlockLoad LoadOf(Product product, const ConvSizes& s, const Lattice& lattice,
                 const BlockGrid& grid) {
  const bool transposed = product == Product::kInputGradient;
  const int64_t of_lattice =
      DivideUp(grid.count * static_cast<int64_t>(lattice.taps.size()), grid.taps);
  return {product,
          s.batch,
          transposed ? s.out_channels : s.in_channels,
          transposed ? s.in_channels : s.out_channels,
          transposed ? grid.out : grid.in,
          transposed ? grid.in : grid.out,
          transposed ? grid.in_blocks : grid.out_blocks,
          of_lattice};
}

// Blocks lie far apart in a wide kernel: the processor fetches none before it is asked for.
constexpr int64_t kAhead = 48;  // blocks

template <bool kWrite>
void PrefetchBlock(const std::vector<BlockList::Block>& blocks, int64_t i, int64_t row,
                   const void* kernel, ElementType type) {
  if (i >= static_cast<int64_t>(blocks.size())) return;
  for (int32_t in = 0; in < blocks[i].ins; ++in)
    __builtin_prefetch(
        static_cast<const char*>(kernel) + (blocks[i].weight + in * row) * ElementBytes(type),
        kWrite);
}

}  // namespace

std::unique_ptr<BlockKernel> BlockKernel::Make(Product product, const Convolution& convolution,
                                               const Lattice& lattice, const BlockGrid& grid,
                                               const Kernels& kernels, int threads) {
  const auto tiling = ChooseBlockTiling(lattice, LoadOf(product, convolution.sizes, lattice, grid),
                                        kernels.lanes, threads);
  if (!tiling) return nullptr;
  return std::unique_ptr<BlockKernel>(
      new BlockKernel(product, convolution, lattice, grid, *tiling, kernels));
}

BlockKernel::BlockKernel(Product product, const Convolution& convolution, const Lattice& lattice,
                         const BlockGrid& grid, const BlockTiling& tiling, const Kernels& kernels)
    : kernels_(kernels),
      type_(convolution.type),
      transposed_(product == Product::kInputGradient),
      packed_(PackPixels(lattice, tiling.tile_h, tiling.tile_w)),
      weights_(convolution.sizes.weights()),
      out_channels_(convolution.sizes.out_channels),
      floats_(grid.in * grid.out) {
  const ConvSizes& s = convolution.sizes;
  BlockTables& t = tables_;
  t.tile = TilesOf(product, s, lattice, packed_, tiling.tile_h, tiling.tile_w);
  const BlockLoad load = LoadOf(product, s, lattice, grid);
  t.block = {load.summed, load.outputs};
  t.summed_blocks = static_cast<int32_t>(DivideUp(load.in_channels, int64_t{load.summed}));
  t.output_blocks = static_cast<int32_t>(load.output_blocks);
  t.parts = tiling.parts;
  const bool in_chunks = product == Product::kKernelGradient;
  list_ = MakeBlockList(
      grid, s, lattice, packed_,
      {transposed_, tiling.parts, in_chunks ? tiling.chunk_blocks : int64_t{t.summed_blocks},
       int64_t{packed_.slots | 1} * kernels.lanes, kernels.lanes});
  t.part_outputs = list_.part_outputs.data();
  t.first_segment = list_.first_segment.data(), t.first_active = list_.first_active.data();
  t.segments = list_.segments.data(), t.offsets = list_.offsets.data();
  groups_ = DivideUp(t.tile.tiles, kernels.lanes);
}

WorkItem BlockKernel::ItemOf(int64_t piece, int64_t pieces_of_groups) const {
  const int32_t part = static_cast<int32_t>(piece / pieces_of_groups);
  const int64_t i = piece % pieces_of_groups;
  return {
      SliceBegin(groups_, i, pieces_of_groups), SliceBegin(groups_, i + 1, pieces_of_groups), part,
      ThreadMemory::Get(ThreadMemory::kWorkBuffer, kernels_.block_buffer_floats(tables_, part))};
}

// Values by [block][summed][output]; 0 beyond the channels.
void BlockKernel::Gather(const void* kernel, int64_t begin, int64_t end, float* values) const {
  const int32_t outputs = tables_.block.outputs;
  const int32_t step_in = transposed_ ? 1 : outputs, step_out = transposed_ ? outputs : 1;
  for (int64_t i = begin; i < end; ++i) {
    const BlockList::Block& block = list_.blocks[i];
    PrefetchBlock<false>(list_.blocks, i + kAhead, out_channels_, kernel, type_);
    float* value = values + int64_t{block.place} * floats_;
    if (block.ins * block.outs < floats_) std::fill_n(value, floats_, 0.0f);
    for (int32_t in = 0; in < block.ins; ++in) {
      const int64_t row = block.weight + in * out_channels_;
      for (int32_t out = 0; out < block.outs; ++out)
        value[in * step_in + out * step_out] = FloatAt(type_, kernel, row + out);
    }
  }
}

void BlockKernel::Multiply(const void* inputs, const void* kernel, void* result,
                           const Parallel& parallel) const {
  float* values = ThreadMemory::Get(ThreadMemory::kValues, active() * floats_);
  const int64_t slices = SlicesOf(parallel);
  parallel.run(slices, 2 * active() * floats_ / slices, [&](int64_t slice) {
    Gather(kernel, SliceBegin(active(), slice, slices), SliceBegin(active(), slice + 1, slices),
           values);
  });
  const Loops& loops = kernels_.loops[static_cast<int>(type_)];
  const int64_t pieces =
      std::min<int64_t>(groups_, parallel.threads == 1 ? 1 : 4 * parallel.threads);
  const LatticeTables& t = tables_.tile;
  const int64_t cycles = active() * floats_ * t.tile_h * t.tile_w / 2 * groups_ /
                             std::max<int64_t>(1, pieces * tables_.parts) +
                         10000;
  parallel.run(pieces * tables_.parts, cycles, [&](int64_t piece) {
    loops.multiply_blocks(tables_, inputs, values, result, ItemOf(piece, pieces));
  });
}

void BlockKernel::Gradient(const void* inputs, const void* output_gradient, void* result,
                           const Parallel& parallel, bool zeros_are_there) const {
  const int64_t floats = active() * floats_;
  const Loops& loops = kernels_.loops[static_cast<int>(type_)];
  const int64_t pieces = std::min<int64_t>(groups_, parallel.threads);
  float* sums = ThreadMemory::Get(ThreadMemory::kValues, pieces * floats);
  std::fill_n(sums, pieces * floats, 0.0f);
  const LatticeTables& t = tables_.tile;
  const int64_t cycles =
      floats * t.tile_h * t.tile_w / 2 * groups_ / std::max<int64_t>(1, pieces * tables_.parts) +
      10000;
  parallel.run(pieces * tables_.parts, cycles, [&](int64_t piece) {
    loops.gradient_blocks(tables_, inputs, output_gradient, sums + piece % pieces * floats,
                          ItemOf(piece, pieces));
  });
  if (!zeros_are_there) FillWithZeros(result, weights_ * ElementBytes(type_), parallel);
  const int64_t slices = SlicesOf(parallel);
  parallel.run(slices, 2 * floats / slices, [&](int64_t slice) {
    WriteGradient(sums, pieces, SliceBegin(active(), slice, slices),
                  SliceBegin(active(), slice + 1, slices), result);
  });
}

// Sums over the pieces, of blocks [begin, end) in the order of the kernel.
void BlockKernel::WriteGradient(const float* sums, int64_t pieces, int64_t begin, int64_t end,
                                void* result) const {
  const int64_t floats = active() * floats_;
  for (int64_t i = begin; i < end; ++i) {
    const BlockList::Block& block = list_.blocks[i];
    PrefetchBlock<true>(list_.blocks, i + kAhead, out_channels_, result, type_);
    const float* value = sums + int64_t{block.place} * floats_;
    for (int32_t in = 0; in < block.ins; ++in, value += tables_.block.outputs)
      for (int32_t out = 0; out < block.outs; ++out) {
        float sum = value[out];
        for (int64_t piece = 1; piece < pieces; ++piece) sum += value[piece * floats + out];
        SetElement(type_, result, block.weight + in * out_channels_ + out, sum);
      }
  }
}

}  // namespace keras_sparse
