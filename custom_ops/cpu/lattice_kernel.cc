#include "custom_ops/cpu/lattice_kernel.h"

#include <algorithm>
#include <cstring>

#include "custom_ops/contract/numbers.h"
#include "custom_ops/cpu/thread_memory.h"

namespace keras_sparse {
namespace {

constexpr int64_t kLaneSumBytes =
    600 * 1024;  // sums per lane stay in the second cache, else they are reduced at once
LatticeLoad LoadOf(Product product, const ConvSizes& s, const Lattice& lattice,
                   const PackedMask& mask) {
  const bool transposed = product == Product::kInputGradient;
  const std::vector<int64_t> per_tap = ActivePerTap(mask, s);
  int64_t active = 0;
  for (const Tap& tap : lattice.taps) active += per_tap[tap.index];
  return {s.batch, transposed ? s.out_channels : s.in_channels,
          transposed ? s.in_channels : s.out_channels, active};
}

}  // namespace

LatticeKernel::LatticeKernel(Product product, const Convolution& convolution,
                             const Lattice& lattice, const PackedMask& mask, const Kernels& kernels,
                             int threads)
    : kernels_(kernels), type_(convolution.type), kernel_type_(convolution.kernel_type()) {
  const ConvSizes& s = convolution.sizes;
  const bool transposed = product == Product::kInputGradient;
  const LatticeLoad load = LoadOf(product, s, lattice, mask);
  const Tiling tiling = ChooseTiling(lattice, load, kernels.lanes, kernels.max_tile, threads);
  packed_ = PackPixels(lattice, tiling.tile_h, tiling.tile_w);
  list_ = MakeActiveList(mask, s, transposed, lattice, packed_, tiling, kernels.lanes);

  LatticeTables& t = tables_;
  t = TilesOf(product, s, lattice, packed_, tiling.tile_h, tiling.tile_w);
  t.chunk_channels = tiling.chunk_channels;
  t.chunks = static_cast<int32_t>((list_->first_segment.size() - 1) / tiling.parts);
  t.parts = tiling.parts;
  t.part_outputs = list_->part_outputs.data();
  t.first_segment = list_->first_segment.data(), t.first_active = list_->first_active.data();
  t.segments = list_->segments.data(), t.offsets = list_->offsets.data();
  t.longest_segment = list_->longest_segment;
  weights_ = s.weights();
  groups_ = DivideUp(t.tiles, kernels.lanes);
}

WorkItem LatticeKernel::ItemOf(int64_t piece, int64_t pieces_of_groups) const {
  const int32_t part = static_cast<int32_t>(piece / pieces_of_groups);
  const int64_t i = piece % pieces_of_groups;
  return {SliceBegin(groups_, i, pieces_of_groups),
          SliceBegin(groups_, i + 1, pieces_of_groups),
          part,
          ThreadMemory::Get(ThreadMemory::kWorkBuffer, kernels_.buffer_floats(tables_, part)),
          {}};
}

template <class Read>
void LatticeKernel::ReadBy(Read read, float* values, const Parallel& parallel) const {
  const int32_t* const place = list_->place.data();
  const int64_t slices = std::min<int64_t>(parallel.threads, 1 + active() / 65536);
  parallel.run(slices, 4 * active() / slices, [&](int64_t slice) {
    const int64_t end = SliceBegin(active(), slice + 1, slices);
    for (int64_t i = SliceBegin(active(), slice, slices); i < end; ++i) values[place[i]] = read(i);
  });
}

template <class Read>
const float* LatticeKernel::ValuesBy(Read read, const Parallel& parallel) const {
  float* values = ThreadMemory::Get(ThreadMemory::kValues, active());
  ReadBy(read, values, parallel);
  return values;
}

void LatticeKernel::ReadValues(const void* kernel, float* values, const Parallel& parallel) const {
  ReadBy([&](int64_t i) { return kernel_type_.At(kernel, list_->weight[i]); }, values, parallel);
}

template <class Read>
void LatticeKernel::MultiplyBy(Read read, const void* inputs, void* result,
                               const Epilogue& epilogue, const Parallel& parallel) const {
  MultiplyValues(inputs, ValuesBy(read, parallel), result, epilogue, parallel);
}

void LatticeKernel::MultiplyValues(const void* inputs, const float* values, void* result,
                                   const Epilogue& epilogue, const Parallel& parallel) const {
  // Four times as many pieces as threads: a piece that is slow, or late, does not keep the others
  // waiting.
  const Loops& loops = kernels_.loops[static_cast<int>(type_)];
  const int64_t pieces =
      std::min<int64_t>(groups_, parallel.threads == 1 ? 1 : 4 * parallel.threads);
  const int64_t cycles =
      active() * 10 * groups_ / std::max<int64_t>(1, pieces * tables_.parts) + 10000;
  parallel.run(pieces * tables_.parts, cycles, [&](int64_t piece) {
    WorkItem item = ItemOf(piece, pieces);
    item.epilogue = epilogue;
    loops.multiply(tables_, inputs, values, result, item);
  });
}

void LatticeKernel::Multiply(const void* inputs, const void* kernel, void* result,
                             const Parallel& parallel) const {
  MultiplyBy([&](int64_t i) { return kernel_type_.At(kernel, list_->weight[i]); }, inputs, result,
             {}, parallel);
}

int64_t LatticeKernel::SharedValues() const {
  return kernel_type_.IsFloat32() ? static_cast<int64_t>(list_->weight.size()) : 0;
}

void LatticeKernel::MultiplyAndShare(const void* inputs, const void* kernel, void* result,
                                     float* shared, const Epilogue& epilogue,
                                     const Parallel& parallel) const {
  const float* const weights = static_cast<const float*>(kernel);
  const auto read = [&](int64_t i) {
    return RoundedTo(type_, shared[i] = weights[list_->weight[i]]);
  };
  MultiplyBy(read, inputs, result, epilogue, parallel);
}

void LatticeKernel::MultiplyShared(const void* inputs, const float* shared, void* result,
                                   const Epilogue& epilogue, const Parallel& parallel) const {
  MultiplyBy([&](int64_t i) { return RoundedTo(type_, shared[i]); }, inputs, result, epilogue,
             parallel);
}

template <class Run>
LatticeKernel::Sums LatticeKernel::SumsBy(const Run& run, int64_t cycles_of_weight,
                                          const Parallel& parallel) const {
  const int64_t pieces = std::min<int64_t>(groups_, parallel.threads);
  float* sums = ThreadMemory::Get(ThreadMemory::kSums, pieces * active());
  std::fill_n(sums, pieces * active(), 0.0f);
  const int64_t cycles =
      active() * cycles_of_weight * groups_ / std::max<int64_t>(1, pieces * tables_.parts) + 10000;
  parallel.run(pieces * tables_.parts, cycles, [&](int64_t piece) {
    const WorkItem item = ItemOf(piece, pieces);
    const int64_t first = int64_t{item.part} * tables_.chunks;
    const int64_t lane_sums =
        (list_->first_active[first + tables_.chunks] - list_->first_active[first]) * kernels_.lanes;
    float* lanes = nullptr;
    if (lane_sums * static_cast<int64_t>(sizeof(float)) <= kLaneSumBytes) {
      lanes = ThreadMemory::Get(ThreadMemory::kLaneSums, lane_sums);
      std::fill_n(lanes, lane_sums, 0.0f);
    }
    run(item, sums + piece % pieces * active(), lanes);
  });
  return {sums, pieces, active()};
}

LatticeKernel::Sums LatticeKernel::SumsOf(const void* inputs, const void* output_gradient,
                                          const Parallel& parallel) const {
  const Loops& loops = kernels_.loops[static_cast<int>(type_)];
  const auto run = [&](const WorkItem& item, float* sums, float* lane_sums) {
    loops.gradient(tables_, inputs, output_gradient, sums, lane_sums, item);
  };
  return SumsBy(run, 12, parallel);
}

void LatticeKernel::Gradient(const void* inputs, const void* output_gradient, void* result,
                             const Parallel& parallel, bool zeros_are_there) const {
  Write(SumsOf(inputs, output_gradient, parallel), result, parallel, zeros_are_there);
}

void LatticeKernel::GradientList(const void* inputs, const void* output_gradient, void* list,
                                 const Parallel& parallel) const {
  WriteList(SumsOf(inputs, output_gradient, parallel), list, parallel);
}

// Two arrays of sums for all outputs must stay in the second cache, beside the packed pixels.
bool LatticeKernel::GainsByBoth() const {
  constexpr int64_t kMostBytes = 768 * 1024;
  const LatticeTables& t = tables_;
  const int64_t sums = DivideUp(t.out_channels, int64_t{t.parts}) * t.tile_h * t.tile_w;
  return 2 * sums * kernels_.lanes * static_cast<int64_t>(sizeof(float)) <= kMostBytes;
}

void LatticeKernel::Both(const BothGradients& both, const Parallel& parallel) const {
  const Loops& loops = kernels_.loops[static_cast<int>(type_)];
  const auto read = [&](int64_t i) {
    return both.shared != nullptr ? RoundedTo(type_, both.shared[i])
                                  : kernel_type_.At(both.kernel, list_->weight[i]);
  };
  const float* values = ValuesBy(read, parallel);
  const auto run = [&](WorkItem item, float* sums, float* lane_sums) {
    item.epilogue.addend = both.addend;
    loops.both_gradients(tables_, both.output_gradient, values, both.inputs, both.input_gradient,
                         sums, lane_sums, item);
  };
  const Sums sums = SumsBy(run, 22, parallel);
  if (both.as_list) {
    WriteList(sums, both.kernel_gradient, parallel);
  } else {
    Write(sums, both.kernel_gradient, parallel, both.is_own);
  }
}

void LatticeKernel::Write(const Sums& sums, void* result, const Parallel& parallel,
                          bool zeros_are_there) const {
  const int64_t slices = std::min<int64_t>(parallel.threads, 1 + weights_ / 65536);
  parallel.run(slices, weights_ / slices, [&](int64_t slice) {
    WriteGradient(sums, SliceBegin(weights_, slice, slices),
                  SliceBegin(weights_, slice + 1, slices), !zeros_are_there, result);
  });
}

void LatticeKernel::WriteList(const Sums& sums, void* list, const Parallel& parallel) const {
  const int64_t slices = std::min<int64_t>(parallel.threads, 1 + sums.active / 65536);
  parallel.run(slices, 4 * sums.active / slices, [&](int64_t slice) {
    const int64_t end = SliceBegin(sums.active, slice + 1, slices);
    for (int64_t i = SliceBegin(sums.active, slice, slices); i < end; ++i)
      SetElement(type_, list, i, sums.At(list_->place[i]));
  });
}

void LatticeKernel::WriteGradient(const Sums& sums, int64_t begin, int64_t end, bool fill,
                                  void* result) const {
  constexpr int64_t kSpan =
      1 << 14;  // weights: zeros are still in the first cache when sums are written among them
  const int64_t element = ElementBytes(type_);
  char* bytes = static_cast<char*>(result);
  int64_t i =
      std::lower_bound(list_->weight.begin(), list_->weight.end(), begin) - list_->weight.begin();
  for (int64_t first = begin; first < end; first += kSpan) {
    const int64_t last = std::min(first + kSpan, end);
    if (fill) std::memset(bytes + first * element, 0, (last - first) * element);
    for (; i < sums.active && list_->weight[i] < last; ++i)
      SetElement(type_, result, list_->weight[i], sums.At(list_->place[i]));
  }
}

}  // namespace keras_sparse
