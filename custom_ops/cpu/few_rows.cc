#include "custom_ops/cpu/few_rows.h"

#include <algorithm>
#include <vector>

#include "custom_ops/contract/matmul.h"
#include "custom_ops/contract/numbers.h"
#include "custom_ops/cpu/packed_mask.h"
#include "custom_ops/cpu/thread_memory.h"

namespace keras_sparse {
namespace {

constexpr int64_t kFirstCache = 32 * 1024;  // for the inputs of a chunk
constexpr int64_t kMostChannels = 8192;     // of a chunk: their places fit 16 bits

// The loops with the fewest lanes that hold all rows, among the instructions that `most` has. One
// row has its weights in the lanes.
const RowLoops* LoopsFor(int64_t rows, const Kernels& most) {
  const RowLoops* found = nullptr;
#if defined(KERAS_SPARSE_ONLY_PORTABLE)
  const RowLoops* const all[] = {PortableRowLoops()};
#else
  const RowLoops* const all[] = {PortableRowLoops(), Avx2RowLoops(), Avx512RowLoops()};
#endif
  for (const RowLoops* loops : all) {
    if (loops->lanes > most.lanes || loops->lanes < rows) continue;
    const bool has_multiply_add = found != nullptr && found->lanes >= 8;
    if (rows == 1 || !has_multiply_add) found = loops;
  }
  return found;
}

class FewRows : public ConvPlan {
 public:
  FewRows(Product product, const ConvSizes& sizes, const bool* mask, const RowLoops& loops)
      : loops_(loops) {
    const bool transposed = product == Product::kInputGradient;
    RowTables& t = tables_;
    t.rows = sizes.in_width;
    t.in_channels = transposed ? sizes.out_channels : sizes.in_channels;
    t.out_channels = transposed ? sizes.in_channels : sizes.out_channels;
    const int64_t floats = t.rows == 1 ? 1 : loops.lanes;  // of one channel
    const int64_t fit = kFirstCache / (floats * static_cast<int64_t>(sizeof(float)));
    t.chunk_channels = static_cast<int32_t>(std::min({fit, kMostChannels, t.in_channels}));
    t.chunks = static_cast<int32_t>(DivideUp(t.in_channels, t.chunk_channels));
    MakeLists(PackedMask(mask, sizes.weights()), sizes.out_channels, transposed);
    t.first = first_.data(), t.channels = channels_.data();
  }

  void Run(const void* first, const void* second, void* result, const Parallel& parallel,
           bool) const override {
    float* values = ThreadMemory::Get(ThreadMemory::kValues, KeptValues());
    ReadValues(second, values, parallel);
    RunWithValues(first, values, result, {}, parallel);
  }

  int64_t KeptValues() const override { return static_cast<int64_t>(channels_.size()); }

  void ReadValues(const void* weights, float* values, const Parallel& parallel) const override {
    const float* const kernel = static_cast<const float*>(weights);
    const int64_t active = KeptValues(), slices = SlicesOf(active / 65536, parallel);
    parallel.run(slices, 4 * active / slices, [&](int64_t slice) {
      const int64_t end = SliceBegin(active, slice + 1, slices);
      for (int64_t i = SliceBegin(active, slice, slices); i < end; ++i)
        values[place_[i]] = kernel[weight_[i]];
    });
  }

  bool GainsMostByKeptValues() const override { return true; }

  void RunWithValues(const void* first, const float* values, void* result, const Epilogue&,
                     const Parallel& parallel) const override {
    const float* const inputs = static_cast<const float*>(first);
    float* const outputs = static_cast<float*>(result);
    const int64_t vectors = DivideUp(tables_.out_channels, 16),
                  slices = std::min(vectors, SlicesOf(KeptValues() / 8192, parallel));
    parallel.run(slices, 2 * KeptValues() / slices + 1000, [&](int64_t slice) {
      const int64_t begin = SliceBegin(vectors, slice, slices) * 16;
      const int64_t end =
          std::min(tables_.out_channels, SliceBegin(vectors, slice + 1, slices) * 16);
      float* buffer =
          ThreadMemory::Get(ThreadMemory::kWorkBuffer, loops_.buffer_floats(tables_, begin, end));
      loops_.multiply(tables_, inputs, values, outputs, begin, end, buffer);
    });
  }

 private:
  static int64_t SlicesOf(int64_t most, const Parallel& parallel) {
    return std::min<int64_t>(parallel.threads == 1 ? 1 : 4 * parallel.threads, 1 + most);
  }

  // Calls use(list, channel in its chunk, weight) for each active weight, in the kernel's order.
  template <class Use>
  void ForEach(const PackedMask& mask, int64_t columns, bool transposed, Use use) const {
    mask.ForEachActive([&](int64_t weight) {
      const int64_t row = weight / columns, column = weight % columns;
      const int64_t channel = transposed ? column : row, output = transposed ? row : column;
      use(channel / tables_.chunk_channels * tables_.out_channels + output,
          static_cast<uint16_t>(channel % tables_.chunk_channels), weight);
    });
  }

  void MakeLists(const PackedMask& mask, int64_t columns, bool transposed) {
    first_.assign(tables_.chunks * tables_.out_channels + 1, 0);
    ForEach(mask, columns, transposed,
            [&](int64_t list, uint16_t, int64_t) { ++first_[list + 1]; });
    for (size_t i = 1; i < first_.size(); ++i) first_[i] += first_[i - 1];
    std::vector<int64_t> next(first_.begin(), first_.end() - 1);
    channels_.resize(first_.back());
    weight_.reserve(first_.back()), place_.reserve(first_.back());
    ForEach(mask, columns, transposed, [&](int64_t list, uint16_t channel, int64_t weight) {
      channels_[next[list]] = channel;
      weight_.push_back(static_cast<int32_t>(weight));
      place_.push_back(static_cast<int32_t>(next[list]++));
    });
  }

  const RowLoops& loops_;
  RowTables tables_ = {};
  std::vector<int64_t> first_;
  std::vector<uint16_t> channels_;
  std::vector<int32_t> weight_, place_;  // in the kernel's order: index in it, and in the lists
};

}  // namespace

std::unique_ptr<ConvPlan> MakeFewRowsPlan(Product product, const Convolution& convolution,
                                          const bool* mask, const Kernels& kernels) {
  const ConvSizes s = InOneRow(convolution.sizes);
  const bool is_matmul = s.kernel_height * s.kernel_width == 1 && s.batch == 1 &&
                         s.in_height == 1 && s.out_height == 1 && s.in_width == s.out_width &&
                         s.stride_width == 1 && s.pad_left == 0 && s.pad_top == 0;
  if (product == Product::kKernelGradient || convolution.IsEmpty() || !is_matmul ||
      convolution.type != ElementType::kFloat32)
    return nullptr;
  const RowLoops* loops = LoopsFor(s.in_width, kernels);
  if (loops == nullptr) return nullptr;
  return std::make_unique<FewRows>(product, s, mask, *loops);
}

}  // namespace keras_sparse
