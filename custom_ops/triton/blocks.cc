// The launches that make a product: the arguments of the kernels in block_kernels.py, from sizes
// alone.
#include "custom_ops/triton/blocks.h"

#include <algorithm>
#include <cstring>

#include "custom_ops/contract/numbers.h"
#include "custom_ops/triton/block_variants.h"

namespace keras_sparse {
namespace {

constexpr int64_t kMostElements =
    (int64_t{1} << 31) - 1;             // the kernels count pixels and blocks in 32 bits
constexpr int64_t kMostGroups = 65535;  // CUDA's limit of a grid's second axis
constexpr int64_t kFewestPixelsPerPart = 512;
constexpr int64_t kMostRounds = 4;    // MOST_ROUNDS of block_gradients.py
constexpr int64_t kRowsWritten = 16;  // WRITTEN of block_tiles.py

int64_t Argument(const void* pointer) { return reinterpret_cast<intptr_t>(pointer); }

const BlockTile* FindTile(const char* kernel, ElementType type, int block) {
  const BlockTile* end = kBlockTiles + kBlockTileCount;
  const BlockTile* tile = std::find_if(kBlockTiles, end, [&](const BlockTile& t) {
    return t.type == type && t.block == block && std::strcmp(t.kernel, kernel) == 0;
  });
  return tile == end ? nullptr : tile;
}

// What the launches of a call have in common: how its kernel is cut, and where things lie in the
// workspace.
struct BlockLayout {
  BlockLayout(Product product, const Convolution& c)
      : product(product), type(c.type), block(c.structure.block), s(c.sizes) {
    by_inputs = product == Product::kInputGradient;
    rows = s.in_channels / block, columns = s.out_channels / block;
    taps = s.kernel_height * s.kernel_width, blocks = taps * rows * columns;
    groups = by_inputs ? rows : columns, others = by_inputs ? columns : rows;
    phases_height = by_inputs ? s.stride_height : 1, phases_width = by_inputs ? s.stride_width : 1;
    Place();
  }

  void Place() {
    const int64_t lists = phases_height * phases_width * groups;
    flags = 0;
    counts = flags + AlignedBytes(blocks * 4);
    entries = counts + AlignedBytes(lists * 4);
    values = entries + AlignedBytes(lists * others * taps * 16);
    const bool sums = product == Product::kKernelGradient;
    bytes = values + AlignedBytes(sums ? SumBytes() : s.weights() * ElementBytes(type));
  }

  // The sums of the gradient by the kernel: with parts, a few units for each program at most.
  int64_t SumBytes() const {
    const int64_t at_once = GradientTile()->at_once;
    return std::max(Units(), kMostRounds * GradientPrograms()) * at_once * block * block * 4;
  }

  // Into how many parts the pixels may be cut for the gradient by the kernel.
  int64_t MostParts() const {
    return DivideUp(s.batch * s.out_height * s.out_width, kFewestPixelsPerPart);
  }

  int64_t GradientPrograms() const {
    return std::min<int64_t>(GradientTile()->programs, Units() * MostParts());
  }

  // Blocks that a program handles at once, if all are active.
  int64_t Units() const { return columns * DivideUp(rows * taps, GradientTile()->at_once); }

  const BlockTile* GradientTile() const { return FindTile("sum_gradients", type, block); }

  Product product;
  ElementType type;
  int block;
  ConvSizes s;
  bool by_inputs;
  int64_t rows, columns, taps, blocks, groups, others, phases_height, phases_width;
  int64_t flags, counts, entries, values, bytes;  // places in the workspace
};

struct Launcher {
  Launcher(Product product, const Convolution& convolution, const BlockPointers& pointers)
      : layout(product, convolution), p(pointers), s(convolution.sizes) {
    const auto workspace = static_cast<char*>(pointers.workspace);
    flags = Argument(workspace + layout.flags), counts = Argument(workspace + layout.counts);
    entries = Argument(workspace + layout.entries), values = Argument(workspace + layout.values);
  }

  BlockLaunch FlagBlocks() const {
    const int64_t pack = layout.product != Product::kKernelGradient;
    // The channels that are summed over come first, in float32 last.
    const int64_t turned = layout.by_inputs != (layout.type == ElementType::kFloat32);
    const int64_t row_step = layout.by_inputs ? layout.columns * layout.taps : layout.taps;
    const int64_t column_step = layout.by_inputs ? layout.taps : layout.rows * layout.taps;
    const int64_t kernel = pack ? Argument(p.second) : 0;
    return {"flag_blocks",
            {layout.taps * layout.rows, layout.columns, 1},
            {Argument(p.mask), kernel, values, flags, layout.rows, layout.columns, pack, turned,
             row_step, column_step}};
  }

  BlockLaunch ListBlocks() const {
    const int64_t other_step = layout.by_inputs ? 1 : layout.columns,
                  group_step = layout.by_inputs ? layout.columns : 1;
    const int64_t sign =
        layout.by_inputs ? 1 : -1;  // an output sees inputs above it, an input outputs below
    return {"list_blocks",
            {layout.groups, layout.phases_height * layout.phases_width, 1},
            {flags, entries, counts, layout.others, s.kernel_height, s.kernel_width, other_step,
             group_step, layout.rows * layout.columns, -sign, sign * s.pad_top, sign * s.pad_left,
             layout.by_inputs ? s.out_width : s.in_width, layout.others, layout.phases_height,
             layout.phases_width}};
  }

  BlockLaunch SumProducts() const {
    const bool back = layout.by_inputs;
    const int64_t height = back ? DivideUp(s.in_height, s.stride_height) : s.out_height;
    const int64_t width = back ? DivideUp(s.in_width, s.stride_width) : s.out_width;
    const int64_t pixels = FindTile("sum_products", layout.type, layout.block)->pixels;
    return {"sum_products",
            {DivideUp(s.batch * height * width, pixels) * layout.groups,
             layout.phases_height * layout.phases_width, 1},
            {Argument(p.first), values, entries, counts, Argument(p.result), s.batch,
             back ? s.out_height : s.in_height, back ? s.out_width : s.in_width,
             back ? s.out_channels : s.in_channels, back ? s.in_height : s.out_height,
             back ? s.in_width : s.out_width, layout.groups, layout.others * layout.taps, height,
             width, layout.phases_height, layout.phases_width, back ? 1 : s.stride_height,
             back ? 1 : s.stride_width}};
  }

  BlockLaunch SumGradients() const {
    return {"sum_gradients",
            {layout.GradientPrograms(), 1, 1},
            {Argument(p.first), Argument(p.second), entries, counts, values, s.batch, s.in_height,
             s.in_width, s.in_channels, s.out_height, s.out_width, layout.columns,
             layout.rows * layout.taps, s.stride_height, s.stride_width, layout.MostParts()}};
  }

  BlockLaunch WriteGradient() const {
    return {"write_gradient",
            {layout.taps * layout.rows, layout.columns, layout.block / kRowsWritten},
            {Argument(p.mask), flags, counts, values, Argument(p.result), layout.rows,
             layout.columns, layout.taps, layout.GradientPrograms(), layout.MostParts()}};
  }

  BlockLayout layout;
  BlockPointers p;
  ConvSizes s;
  int64_t flags, counts, entries, values;
};

}  // namespace

const char* WhyNotInBlocks(const Convolution& c) {
  const ConvSizes& s = c.sizes;
  const int block = c.structure.block;
  if (kWhyNoBlockVariants != nullptr) return kWhyNoBlockVariants;
  if (FindTile("sum_products", c.type, block) == nullptr) return "`block` must be 16, 32 or 64";
  if (s.in_channels % block != 0 || s.out_channels % block != 0)
    return "`kernel` must have channels that are whole blocks";
  if (c.dilation_height != 1 || c.dilation_width != 1) return "`dilations` must be 1 on GPUs";
  if (s.inputs() > kMostElements) return "`inputs` must have fewer than 2^31 elements";
  if (s.stride_height * s.stride_width * s.weights() > kMostElements)
    return "`kernel` must have fewer than 2^31 elements, times the strides";
  if (s.outputs() > kMostElements) return "`inputs` must give outputs of fewer than 2^31 elements";
  if (std::max(s.in_channels, s.out_channels) / block > kMostGroups)
    return "`kernel` must have at most 65535 blocks of channels";
  if (s.stride_height * s.stride_width > kMostGroups) return "`strides` must be at most 255";
  return nullptr;
}

int64_t BlockWorkspace(Product product, const Convolution& convolution) {
  return BlockLayout(product, convolution).bytes;
}

std::vector<BlockLaunch> PlanBlockLaunches(Product product, const Convolution& convolution,
                                           const BlockPointers& pointers) {
  const Launcher launcher(product, convolution, pointers);
  std::vector<BlockLaunch> launches = {launcher.FlagBlocks(), launcher.ListBlocks()};
  if (product != Product::kKernelGradient) {
    launches.push_back(launcher.SumProducts());
  } else {
    launches.push_back(launcher.SumGradients());
    launches.push_back(launcher.WriteGradient());
  }
  return launches;
}

}  // namespace keras_sparse
