#include "custom_ops/cpu/block_values.h"

#include <algorithm>

namespace keras_sparse {
namespace {

// Blocks lie far apart in a wide kernel, and their values far apart in a list: the processor
// fetches none before it is asked for.
constexpr int64_t kAhead = 48;  // blocks

// Which weight begins a row of a block: in the kernel.
struct InKernel {
  const BlockPlaces& p;
  int64_t operator()(int64_t i, int64_t in) const { return p.blocks[i].weight + in * p.row; }
};

// In the list of the active weights.
struct InList {
  const int32_t* rows;
  int32_t in_channels;
  int64_t operator()(int64_t i, int64_t in) const { return rows[i * in_channels + in]; }
};

// Inline: g++ drops calls of functions that do nothing but prefetch.
template <bool kWriteWeights, class Place>
inline __attribute__((always_inline)) void Prefetch(const BlockPlaces& p, int64_t i,
                                                    const void* weights, ElementType type,
                                                    const float* values, Place place) {
  if (i >= p.count) return;
  const BlockList::Block& block = p.blocks[i];
  __builtin_prefetch(values + int64_t{block.place} * p.weights(), !kWriteWeights);
  for (int32_t in = 0; in < block.ins; ++in)
    __builtin_prefetch(static_cast<const char*>(weights) + place(i, in) * ElementBytes(type),
                       kWriteWeights);
}

// A block at the last channels, or one of 16-bit weights in memory. row(in): its first weight.
template <class Row>
void ReadPart(const BlockPlaces& p, const BlockList::Block& block, const void* weights, Row row,
              float* value) {
  const int32_t step_in = p.transposed ? 1 : p.out, step_out = p.transposed ? p.in : 1;
  if (block.ins * block.outs < p.weights()) std::fill_n(value, p.weights(), 0.0f);
  for (int32_t in = 0; in < block.ins; ++in)
    for (int32_t out = 0; out < block.outs; ++out)
      value[in * step_in + out * step_out] = p.kernel_type.At(weights, row(in) + out);
}

// Out of the kernel, or, in float32, out of the list.
template <int I, int O, class Place>
void Read(const BlockPlaces& p, const void* from, int64_t begin, int64_t end, float* values,
          Place place) {
  for (int64_t i = begin; i < end; ++i) {
    const BlockList::Block& block = p.blocks[i];
    Prefetch<false>(p, i + kAhead, from, p.kernel_type.in_memory, values, place);
    float* value = values + int64_t{block.place} * (I * O);
    if (!p.kernel_type.IsFloat32() || block.ins < I || block.outs < O) {
      ReadPart(p, block, from, [&](int32_t in) { return place(i, in); }, value);
      continue;
    }
    float weights[I][O];
    for (int in = 0; in < I; ++in)
      std::memcpy(weights[in], static_cast<const float*>(from) + place(i, in), sizeof weights[in]);
    if (p.kernel_type.rounded_to != ElementType::kFloat32)
      for (int k = 0; k < I * O; ++k)
        weights[k / O][k % O] = RoundedTo(p.kernel_type.rounded_to, weights[k / O][k % O]);
    if (!p.transposed) {
      std::memcpy(value, weights, sizeof weights);
      continue;
    }
    for (int out = 0; out < O; ++out)
      for (int in = 0; in < I; ++in) value[out * I + in] = weights[in][out];
  }
}

template <int I, int O, class Place>
void Write(const BlockPlaces& p, const float* sums, int64_t pieces, int64_t begin, int64_t end,
           void* gradient, Place place) {
  const int64_t piece_floats = p.count * (I * O);
  for (int64_t i = begin; i < end; ++i) {
    const BlockList::Block& block = p.blocks[i];
    Prefetch<true>(p, i + kAhead, gradient, p.type, sums, place);
    float of_place[I * O], sum[I][O];
    const float* value = sums + int64_t{block.place} * (I * O);
    std::memcpy(of_place, value, sizeof of_place);
    for (int64_t piece = 1; piece < pieces; ++piece)
      for (int k = 0; k < I * O; ++k) of_place[k] += value[piece * piece_floats + k];
    for (int k = 0; k < I * O; ++k)
      sum[k / O][k % O] = of_place[p.transposed ? k % O * I + k / O : k];
    if (p.type == ElementType::kFloat32 && block.ins == I && block.outs == O) {
      for (int in = 0; in < I; ++in)
        std::memcpy(static_cast<float*>(gradient) + place(i, in), sum[in], sizeof sum[in]);
      continue;
    }
    for (int32_t in = 0; in < block.ins; ++in)
      for (int32_t out = 0; out < block.outs; ++out)
        SetElement(p.type, gradient, place(i, in) + out, sum[in][out]);
  }
}

template <class Place>
void ReadAnywhere(const BlockPlaces& p, const void* from, int64_t begin, int64_t end, float* values,
                  Place place) {
#define KS_CASE(I, O) \
  if (p.in == I && p.out == O) return Read<I, O>(p, from, begin, end, values, place);
  KS_FOR_BLOCKS(KS_CASE)
#undef KS_CASE
  __builtin_trap();  // FindBlocks chooses from the same list
}

template <class Place>
void WriteAnywhere(const BlockPlaces& p, const float* sums, int64_t pieces, int64_t begin,
                   int64_t end, void* gradient, Place place) {
#define KS_CASE(I, O) \
  if (p.in == I && p.out == O) return Write<I, O>(p, sums, pieces, begin, end, gradient, place);
  KS_FOR_BLOCKS(KS_CASE)
#undef KS_CASE
  __builtin_trap();
}

}  // namespace

void ReadBlocks(const BlockPlaces& p, const void* kernel, int64_t begin, int64_t end,
                float* values) {
  ReadAnywhere(p, kernel, begin, end, values, InKernel{p});
}

void ReadListedBlocks(const BlockPlaces& p, const std::vector<int32_t>& rows, const float* list,
                      int64_t begin, int64_t end, float* values) {
  ReadAnywhere(p, list, begin, end, values, InList{rows.data(), p.in});
}

void ListBlocks(const BlockPlaces& p, const std::vector<int32_t>& rows, const float* kernel,
                int64_t begin, int64_t end, float* list) {
  const InKernel in_kernel{p};
  const InList in_list{rows.data(), p.in};
  for (int64_t i = begin; i < end; ++i) {
    Prefetch<false>(p, i + kAhead, kernel, ElementType::kFloat32, list, in_kernel);
    const BlockList::Block& block = p.blocks[i];
    for (int32_t in = 0; in < block.ins; ++in)
      std::memcpy(list + in_list(i, in), kernel + in_kernel(i, in), block.outs * sizeof(float));
  }
}

void WriteBlocks(const BlockPlaces& p, const float* sums, int64_t pieces, int64_t begin,
                 int64_t end, void* gradient) {
  WriteAnywhere(p, sums, pieces, begin, end, gradient, InKernel{p});
}

std::vector<int32_t> RowsInList(const BlockPlaces& p) {
  std::vector<int32_t> rows(p.count * p.in);
  int32_t first = 0;  // of the rows that blocks share, in the list
  for (int64_t begin = 0, end = 0; begin < p.count; begin = end) {
    int32_t row = 0;  // active weights of one of them
    for (; end < p.count && p.blocks[end].weight / p.row == p.blocks[begin].weight / p.row; ++end)
      row += p.blocks[end].outs;
    const int32_t ins = p.blocks[begin].ins;
    for (int64_t i = begin, place = first; i < end; place += p.blocks[i++].outs)
      for (int32_t in = 0; in < ins; ++in)
        rows[i * p.in + in] = static_cast<int32_t>(place + in * row);
    first += ins * row;
  }
  return rows;
}

void WriteBlocksToList(const BlockPlaces& p, const std::vector<int32_t>& rows, const float* sums,
                       int64_t pieces, int64_t begin, int64_t end, void* list) {
  WriteAnywhere(p, sums, pieces, begin, end, list, InList{rows.data(), p.in});
}

}  // namespace keras_sparse
