// The epilogue of a product, computed on sums that are still in the cache.
#pragma once

#include "custom_ops/contract/epilogue.h"
#include "custom_ops/cpu/tile_pixels.h"
#include "custom_ops/cpu/vector.h"

namespace keras_sparse::KERAS_SPARSE_INSTRUCTIONS {

// `floats`: sums of one output channel. Without a bias there is no epilogue.
inline __attribute__((noinline)) void Finish(const Epilogue& epilogue, const OutputChannels& part,
                                             int64_t floats, float* sums) {
  if (epilogue.bias == nullptr) return;
  const Vector least = Broadcast(epilogue.least), most = Broadcast(epilogue.most);
  for (int64_t i = 0; i < part.count; ++i) {
    const Vector bias = Broadcast(epilogue.bias[part.first + i]);
    float* const end = sums + floats;
    for (; sums < end; sums += kLanes) {
      Vector sum = Load(sums) + bias;
      sum = sum < least ? least : sum;  // as in a ReLU, no number stays no number
      Store(sums, sum > most ? most : sum);
    }
  }
}

}  // namespace keras_sparse::KERAS_SPARSE_INSTRUCTIONS
