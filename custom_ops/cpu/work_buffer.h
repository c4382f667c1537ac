// The memory that one work item uses, beside its inputs and outputs.
#pragma once

#include "custom_ops/cpu/kernels.h"
#include "custom_ops/cpu/vector.h"

namespace keras_sparse::KERAS_SPARSE_INSTRUCTIONS {

constexpr int kProducts = 64;  // gradients per lane that wait to be summed, at least

// `Value`: what inputs and outputs consist of. A float has room for any.
template <class Value>
struct WorkBuffer {
  Value *zeros, *outside;
  float *packed, *sums, *others, *products;
  const Value **inputs, **addends;
  Value** outputs;
  int64_t floats;

  WorkBuffer(const LatticeTables& t, int32_t part, float* memory) {
    const int64_t outputs_of_part = t.part_outputs[part + 1] - t.part_outputs[part],
                  tile = t.tile_h * t.tile_w;
    float* next = memory;
    const auto take = [&next](int64_t count) {
      float* taken = next;
      next += (count + 15) / 16 * 16;
      return taken;
    };
    zeros = reinterpret_cast<Value*>(
        take(t.in_channels > t.out_channels ? t.in_channels : t.out_channels));
    outside = reinterpret_cast<Value*>(take(t.out_channels));
    packed = take(static_cast<int64_t>(t.chunk_channels) * t.slots * kLanes);
    sums = take(outputs_of_part * tile * kLanes);
    others = take(outputs_of_part * tile * kLanes);
    products = take((kProducts + kLanes + t.longest_segment) * kLanes);
    inputs = reinterpret_cast<const Value**>(take(static_cast<int64_t>(t.pixels) * kLanes * 2));
    outputs = reinterpret_cast<Value**>(take(tile * kLanes * 2));
    addends = reinterpret_cast<const Value**>(take(tile * kLanes * 2));
    floats = next - memory;
  }
};
static_assert(sizeof(float*) <= 2 * sizeof(float), "two floats hold a pointer");

inline int64_t BufferFloats(const LatticeTables& tables, int32_t part) {
  return WorkBuffer<float>(tables, part, nullptr).floats;
}

}  // namespace keras_sparse::KERAS_SPARSE_INSTRUCTIONS
