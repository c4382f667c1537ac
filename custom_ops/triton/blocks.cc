// Which launches make a product? The arguments of the kernels in block_kernels.py, from sizes
// alone.
#include "custom_ops/triton/blocks.h"

#include <algorithm>
#include <cstring>

#include "custom_ops/triton/block_variants.h"

namespace keras_sparse {
namespace {

constexpr int64_t kMostElements =
    (int64_t{1} << 31) - 1;             // the kernels count pixels and blocks in 32 bits
constexpr int64_t kMostGroups = 65535;  // CUDA's limit of a grid's second axis
constexpr int64_t kEnoughPrograms =
    4096;  // at a density of 0.1 they fill the 132 processors of an H200
constexpr int64_t kFewestPixelsPerPart = 1024;
constexpr int64_t kMostParts = 64;

int64_t CeilDivide(int64_t a, int64_t b) { return (a + b - 1) / b; }
int64_t Aligned(int64_t bytes) { return CeilDivide(bytes, 256) * 256; }
int64_t Argument(const void* pointer) { return reinterpret_cast<intptr_t>(pointer); }
int64_t BytesOf(ElementType type) { return type == ElementType::kFloat32 ? 4 : 2; }

const BlockTile* FindTile(const char* kernel, ElementType type, int block) {
  const BlockTile* end = kBlockTiles + kBlockTiles_size;
  const BlockTile* tile = std::find_if(kBlockTiles, end, [&](const BlockTile& t) {
    return t.type == type && t.block == block && std::strcmp(t.kernel, kernel) == 0;
  });
  return tile == end ? nullptr : tile;
}

// What the launches of a call have in common: how its kernel is cut, and where things lie in the
// workspace.
struct Plan {
  explicit Plan(const BlockCall& call) : s(call.sizes), call(call) {
    by_inputs = call.product == Product::kInputGradient;
    rows = s.in_channels / call.block, columns = s.out_channels / call.block;
    taps = s.kernel_height * s.kernel_width, blocks = taps * rows * columns;
    groups = by_inputs ? rows : columns, others = by_inputs ? columns : rows;
    phases_height = by_inputs ? s.stride_height : 1, phases_width = by_inputs ? s.stride_width : 1;
    Place();
  }

  void Place() {
    const int64_t lists = phases_height * phases_width * groups;
    flags = 0;
    counts = flags + Aligned(blocks * 4);
    entries = counts + Aligned(lists * 4);
    values = entries + Aligned(lists * others * taps * 16);
    const bool sums = call.product == Product::kKernelGradient;
    bytes = values + Aligned(sums ? Parts() * s.weights() * 4 : s.weights() * BytesOf(call.type));
  }

  // Into how many parts the pixels are cut for the gradient by the kernel.
  int64_t Parts() const {
    const int64_t pixels = s.batch * s.out_height * s.out_width;
    const BlockTile* tile = FindTile("sum_gradients", call.type, call.block);
    const int64_t programs = CeilDivide(rows * taps, tile->at_once) * columns;
    const int64_t most = std::min(kMostParts, CeilDivide(pixels, kFewestPixelsPerPart));
    return std::clamp<int64_t>(CeilDivide(kEnoughPrograms, programs), 1, most);
  }

  ConvSizes s;
  BlockCall call;
  bool by_inputs;
  int64_t rows, columns, taps, blocks, groups, others, phases_height, phases_width;
  int64_t flags, counts, entries, values, bytes;  // places in the workspace
};

struct Launcher {
  Launcher(const BlockCall& call, const BlockPointers& pointers)
      : plan(call), p(pointers), s(call.sizes) {
    const auto workspace = static_cast<char*>(pointers.workspace);
    flags = Argument(workspace + plan.flags), counts = Argument(workspace + plan.counts);
    entries = Argument(workspace + plan.entries), values = Argument(workspace + plan.values);
  }

  BlockLaunch FlagBlocks() const {
    const int64_t block = plan.call.block, pack = plan.call.product != Product::kKernelGradient;
    const int64_t in_step = plan.by_inputs ? 1 : block, out_step = plan.by_inputs ? block : 1;
    const int64_t row_step = plan.by_inputs ? plan.columns * plan.taps : plan.taps;
    const int64_t column_step = plan.by_inputs ? plan.taps : plan.rows * plan.taps;
    const int64_t kernel = pack ? Argument(p.second) : 0;
    return {"flag_blocks",
            {plan.taps * plan.rows, plan.columns, 1},
            {Argument(p.mask), kernel, values, flags, plan.rows, plan.columns, pack, in_step,
             out_step, row_step, column_step}};
  }

  BlockLaunch ListBlocks() const {
    const int64_t other_step = plan.by_inputs ? 1 : plan.columns,
                  group_step = plan.by_inputs ? plan.columns : 1;
    const int64_t sign =
        plan.by_inputs ? 1 : -1;  // an output sees inputs above it, an input outputs below
    return {"list_blocks",
            {plan.groups, plan.phases_height * plan.phases_width, 1},
            {flags, entries, counts, plan.others, s.kernel_height, s.kernel_width, other_step,
             group_step, plan.rows * plan.columns, -sign, sign * s.pad_top, sign * s.pad_left,
             plan.by_inputs ? s.out_width : s.in_width, plan.others, plan.phases_height,
             plan.phases_width}};
  }

  BlockLaunch SumProducts() const {
    const bool back = plan.by_inputs;
    const int64_t height = back ? CeilDivide(s.in_height, s.stride_height) : s.out_height;
    const int64_t width = back ? CeilDivide(s.in_width, s.stride_width) : s.out_width;
    const int64_t pixels = FindTile("sum_products", plan.call.type, plan.call.block)->pixels;
    return {"sum_products",
            {CeilDivide(s.batch * height * width, pixels) * plan.groups,
             plan.phases_height * plan.phases_width, 1},
            {Argument(p.first), values, entries, counts, Argument(p.result), s.batch,
             back ? s.out_height : s.in_height, back ? s.out_width : s.in_width,
             back ? s.out_channels : s.in_channels, back ? s.in_height : s.out_height,
             back ? s.in_width : s.out_width, plan.groups, plan.others * plan.taps, height, width,
             plan.phases_height, plan.phases_width, back ? 1 : s.stride_height,
             back ? 1 : s.stride_width}};
  }

  BlockLaunch SumGradients() const {
    const BlockTile* tile = FindTile("sum_gradients", plan.call.type, plan.call.block);
    const int64_t pixels = s.batch * s.out_height * s.out_width, parts = plan.Parts();
    const int64_t per_part = CeilDivide(CeilDivide(pixels, parts), tile->pixels) * tile->pixels;
    return {"sum_gradients",
            {CeilDivide(plan.rows * plan.taps, tile->at_once), plan.columns, parts},
            {Argument(p.first), Argument(p.second), entries, counts, values, plan.blocks, s.batch,
             s.in_height, s.in_width, s.in_channels, s.out_height, s.out_width, plan.columns,
             plan.rows * plan.taps, s.stride_height, s.stride_width, per_part}};
  }

  BlockLaunch WriteGradient() const {
    return {"write_gradient",
            {plan.taps * plan.rows, plan.columns, 1},
            {Argument(p.mask), flags, values, Argument(p.result), plan.rows, plan.columns,
             plan.taps, plan.Parts()}};
  }

  Plan plan;
  BlockPointers p;
  ConvSizes s;
  int64_t flags, counts, entries, values;
};

}  // namespace

const char* WhyNotInBlocks(const BlockCall& call) {
  const ConvSizes& s = call.sizes;
  if (kWhyNoBlockVariants != nullptr) return kWhyNoBlockVariants;
  if (FindTile("sum_products", call.type, call.block) == nullptr)
    return "blocks must be 16, 32 or 64 wide";
  if (s.in_channels % call.block != 0 || s.out_channels % call.block != 0)
    return "channels must be whole blocks";
  const int64_t most = std::max(
      {s.inputs(), s.weights(), s.outputs(), s.stride_height * s.stride_width * s.weights()});
  if (most > kMostElements) return "inputs, weights and outputs must be fewer than 2^31";
  if (std::max(s.in_channels, s.out_channels) / call.block > kMostGroups)
    return "there are too many channels";
  if (s.stride_height * s.stride_width > kMostGroups) return "strides are too long";
  return nullptr;
}

int64_t BlockWorkspace(const BlockCall& call) { return Plan(call).bytes; }

std::vector<BlockLaunch> PlanBlockLaunches(const BlockCall& call, const BlockPointers& pointers) {
  const Launcher launcher(call, pointers);
  std::vector<BlockLaunch> launches = {launcher.FlagBlocks(), launcher.ListBlocks()};
  if (call.product != Product::kKernelGradient) {
    launches.push_back(launcher.SumProducts());
  } else {
    launches.push_back(launcher.SumGradients());
    launches.push_back(launcher.WriteGradient());
  }
  return launches;
}

}  // namespace keras_sparse
