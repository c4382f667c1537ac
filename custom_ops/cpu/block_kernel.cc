#include "custom_ops/cpu/block_kernel.h"

#include <algorithm>

#include "custom_ops/contract/numbers.h"
#include "custom_ops/cpu/thread_memory.h"

namespace keras_sparse {
namespace {

// Of a row, at once: blocks of fewer output channels have fewer sums.
int32_t MostPixelsOf(const BlockLoops& loops, int32_t outputs) {
  return outputs >= 4 ? loops.most_pixels : std::min(8, 4 * loops.most_pixels / outputs);
}

BlockLoad LoadOf(Product product, const ConvSizes& s, const Lattice& lattice, const BlockGrid& grid,
                 const BlockLoops& loops) {
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
          of_lattice,
          MostPixelsOf(loops, transposed ? grid.in : grid.out),
          loops.channel_floats,
          loops.in_pairs};
}

// Where they gain: a matrix has room for 8 blocks.
const BlockLoops* MatricesFor(ElementType type, const BlockGrid& grid, const BlockLoad& load,
                              const Kernels& kernels) {
  const bool fits = type == ElementType::kBFloat16 && grid.in == 4 && grid.out == 4 &&
                    load.active >= 5 * load.output_blocks;
  return fits ? kernels.matrices : nullptr;
}

}  // namespace

std::unique_ptr<BlockKernel> BlockKernel::Make(Product product, const Convolution& convolution,
                                               const Lattice& lattice, const BlockGrid& grid,
                                               const Kernels& kernels, int threads) {
  const BlockLoops& vectors = kernels.loops[static_cast<int>(convolution.type)].blocks;
  const BlockLoad load = LoadOf(product, convolution.sizes, lattice, grid, vectors);
  for (const BlockLoops* loops : {MatricesFor(convolution.type, grid, load, kernels), &vectors}) {
    if (loops == nullptr) continue;
    const auto tiling = ChooseBlockTiling(
        lattice, LoadOf(product, convolution.sizes, lattice, grid, *loops), kernels.lanes, threads);
    if (tiling)
      return std::unique_ptr<BlockKernel>(
          new BlockKernel(product, convolution, lattice, grid, *tiling, kernels, *loops));
  }
  return nullptr;
}

BlockKernel::BlockKernel(Product product, const Convolution& convolution, const Lattice& lattice,
                         const BlockGrid& grid, const BlockTiling& tiling, const Kernels& kernels,
                         const BlockLoops& loops)
    : loops_(loops),
      type_(convolution.type),
      packed_(PackPixels(lattice, tiling.tile_h, tiling.tile_w)),
      weights_(convolution.sizes.weights()),
      floats_(grid.in * grid.out) {
  const ConvSizes& s = convolution.sizes;
  const bool transposed = product == Product::kInputGradient;
  BlockTables& t = tables_;
  t.tile = TilesOf(product, s, lattice, packed_, tiling.tile_h, tiling.tile_w);
  const BlockLoad load = LoadOf(product, s, lattice, grid, loops);
  t.block = {load.summed, load.outputs};
  t.summed_blocks = static_cast<int32_t>(DivideUp(load.in_channels, int64_t{load.summed}));
  t.output_blocks = static_cast<int32_t>(load.output_blocks);
  t.parts = tiling.parts;
  t.strip_h = tiling.strip_h;
  const bool in_chunks = product == Product::kKernelGradient;
  list_ = MakeBlockList(
      grid, s, lattice, packed_,
      {transposed, tiling.parts, in_chunks ? tiling.chunk_blocks : int64_t{t.summed_blocks},
       int64_t{packed_.slots | 1} * loops.channel_floats, loops.slot_floats});
  places_ = {list_.blocks.data(), active(),   grid.in, grid.out,
             s.out_channels,      transposed, type_,   convolution.kernel_type()};
  rows_ = RowsInList(places_);
  for (const BlockList::Block& block : list_.blocks) active_weights_ += block.ins * block.outs;
  t.part_outputs = list_.part_outputs.data();
  t.first_segment = list_.first_segment.data(), t.first_active = list_.first_active.data();
  t.segments = list_.segments.data(), t.offsets = list_.offsets.data();
  groups_ = DivideUp(t.tile.tiles, kernels.lanes);
}

WorkItem BlockKernel::ItemOf(int64_t piece, int64_t pieces_of_groups) const {
  const int32_t part = static_cast<int32_t>(piece / pieces_of_groups);
  const int64_t i = piece % pieces_of_groups;
  return {SliceBegin(groups_, i, pieces_of_groups),
          SliceBegin(groups_, i + 1, pieces_of_groups),
          part,
          ThreadMemory::Get(ThreadMemory::kWorkBuffer, loops_.buffer_floats(tables_, part)),
          {}};
}

template <class Work>
void BlockKernel::BySlices(const Work& work, const Parallel& parallel) const {
  const int64_t slices = SlicesOf(parallel);
  parallel.run(slices, 2 * active() * floats_ / slices, [&](int64_t slice) {
    work(SliceBegin(active(), slice, slices), SliceBegin(active(), slice + 1, slices));
  });
}

void BlockKernel::ReadValues(const void* kernel, float* values, const Parallel& parallel) const {
  const auto read = [&](int64_t begin, int64_t end) {
    ReadBlocks(places_, kernel, begin, end, values);
  };
  BySlices(read, parallel);
}

const float* BlockKernel::ValuesOf(const void* kernel, const Parallel& parallel) const {
  float* values = ThreadMemory::Get(ThreadMemory::kValues, Values());
  ReadValues(kernel, values, parallel);
  return values;
}

const float* BlockKernel::ListedValuesOf(const float* shared, const Parallel& parallel) const {
  float* values = ThreadMemory::Get(ThreadMemory::kValues, Values());
  const auto read = [&](int64_t begin, int64_t end) {
    ReadListedBlocks(places_, rows_, shared, begin, end, values);
  };
  BySlices(read, parallel);
  return values;
}

int64_t BlockKernel::SharedValues() const {
  return places_.kernel_type.IsFloat32() ? active_weights_ : 0;
}

void BlockKernel::MultiplyAndShare(const void* inputs, const void* kernel, void* result,
                                   float* shared, const Epilogue& epilogue,
                                   const Parallel& parallel) const {
  const auto list = [&](int64_t begin, int64_t end) {
    ListBlocks(places_, rows_, static_cast<const float*>(kernel), begin, end, shared);
  };
  BySlices(list, parallel);
  MultiplyShared(inputs, shared, result, epilogue, parallel);
}

void BlockKernel::MultiplyShared(const void* inputs, const float* shared, void* result,
                                 const Epilogue& epilogue, const Parallel& parallel) const {
  MultiplyValues(inputs, ListedValuesOf(shared, parallel), result, epilogue, parallel);
}

void BlockKernel::Multiply(const void* inputs, const void* kernel, void* result,
                           const Parallel& parallel) const {
  MultiplyValues(inputs, ValuesOf(kernel, parallel), result, {}, parallel);
}

void BlockKernel::MultiplyValues(const void* inputs, const float* values, void* result,
                                 const Epilogue& epilogue, const Parallel& parallel) const {
  const int64_t pieces =
      std::min<int64_t>(groups_, parallel.threads == 1 ? 1 : 4 * parallel.threads);
  const LatticeTables& t = tables_.tile;
  const int64_t cycles = active() * floats_ * t.tile_h * t.tile_w / 2 * groups_ /
                             std::max<int64_t>(1, pieces * tables_.parts) +
                         10000;
  parallel.run(pieces * tables_.parts, cycles, [&](int64_t piece) {
    WorkItem item = ItemOf(piece, pieces);
    item.epilogue = epilogue;
    loops_.multiply(tables_, inputs, values, result, item);
  });
}

template <class Run>
const float* BlockKernel::SumsBy(const Run& run, int64_t products, const Parallel& parallel) const {
  const int64_t floats = active() * floats_, pieces = PiecesOf(parallel);
  float* sums = ThreadMemory::Get(ThreadMemory::kSums, pieces * floats);
  std::fill_n(sums, pieces * floats, 0.0f);
  const LatticeTables& t = tables_.tile;
  const int64_t cycles = floats * t.tile_h * t.tile_w * products / 2 * groups_ /
                             std::max<int64_t>(1, pieces * tables_.parts) +
                         10000;
  parallel.run(pieces * tables_.parts, cycles,
               [&](int64_t piece) { run(ItemOf(piece, pieces), sums + piece % pieces * floats); });
  return sums;
}

const float* BlockKernel::SumsOf(const void* inputs, const void* output_gradient,
                                 const Parallel& parallel) const {
  const auto run = [&](const WorkItem& item, float* sums) {
    loops_.gradient(tables_, inputs, output_gradient, sums, item);
  };
  return SumsBy(run, 1, parallel);
}

void BlockKernel::Gradient(const void* inputs, const void* output_gradient, void* result,
                           const Parallel& parallel, bool zeros_are_there) const {
  Write(SumsOf(inputs, output_gradient, parallel), result, parallel, zeros_are_there);
}

void BlockKernel::GradientList(const void* inputs, const void* output_gradient, void* list,
                               const Parallel& parallel) const {
  WriteList(SumsOf(inputs, output_gradient, parallel), list, parallel);
}

bool BlockKernel::GainsByBoth() const { return true; }

void BlockKernel::Both(const BothGradients& both, const Parallel& parallel) const {
  const float* values = both.shared != nullptr ? ListedValuesOf(both.shared, parallel)
                                               : ValuesOf(both.kernel, parallel);
  const auto run = [&](WorkItem item, float* sums) {
    item.epilogue.addend = both.addend;
    loops_.both_gradients(tables_, both.output_gradient, values, both.inputs, both.input_gradient,
                          sums, item);
  };
  const float* sums = SumsBy(run, 2, parallel);
  if (both.as_list) {
    WriteList(sums, both.kernel_gradient, parallel);
  } else {
    Write(sums, both.kernel_gradient, parallel, both.is_own);
  }
}

void BlockKernel::Write(const float* sums, void* result, const Parallel& parallel,
                        bool zeros_are_there) const {
  if (!zeros_are_there) FillWithZeros(result, weights_ * ElementBytes(type_), parallel);
  const auto write = [&](int64_t begin, int64_t end) {
    WriteBlocks(places_, sums, PiecesOf(parallel), begin, end, result);
  };
  BySlices(write, parallel);
}

void BlockKernel::WriteList(const float* sums, void* list, const Parallel& parallel) const {
  const auto write = [&](int64_t begin, int64_t end) {
    WriteBlocksToList(places_, rows_, sums, PiecesOf(parallel), begin, end, list);
  };
  BySlices(write, parallel);
}

}  // namespace keras_sparse
