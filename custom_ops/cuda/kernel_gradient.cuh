// What the kernel gradients of weights and of pairs have in common: the work of a block of threads,
// and sums over lanes.
//
// A block: some of the tiles, one after the other, for a chunk of input channels and a group of
// output channels. Inputs lie in shared memory as [channel][slot], output gradients as
// [channel][pixel]; a warp holds the output gradients of one channel at a time in registers and
// goes through the channel's list. The sums of a tile are added to the block's own partial sums in
// device memory (its L2), which a warp alone reads and writes: a fixed order. Pixels of a tile that
// are outside of the image count with an output gradient of 0.
#pragma once

#include <algorithm>

#include "custom_ops/cuda/kernels.cuh"
#include "custom_ops/cuda/tile.cuh"

namespace keras_sparse {

// Sums of 8 values over all lanes: lane i returns that of values[i % 8]. 9 shuffles instead of 40.
__device__ KS_INLINE float SumOverLanes(float (&values)[8], int lane) {
  KS_UNROLL
  for (int half = 4; half > 0; half /= 2) {
    const bool upper = (lane & half) != 0;
    KS_UNROLL
    for (int i = 0; i < half; ++i) {
      const float kept = upper ? values[i + half] : values[i],
                  sent = upper ? values[i] : values[i + half];
      values[i] = kept + __shfl_xor_sync(0xffffffffu, sent, half);
    }
  }
  float sum = values[0];
  sum += __shfl_xor_sync(0xffffffffu, sum, 8);
  return sum + __shfl_xor_sync(0xffffffffu, sum, 16);
}

// Shared memory: [pixels][slots][inputs][output gradients].
struct GradientMemory {
  int *pixels, *slots;
  float *inputs, *gradients;
  int gradient_pitch;

  __device__ KS_INLINE explicit GradientMemory(const CudaTiling& tiling) {
    pixels = reinterpret_cast<int*>(SharedMemory());
    slots = pixels + tiling.pixels();
    inputs = reinterpret_cast<float*>(slots + Padded(tiling.channel_pitch));
    gradients = inputs + Padded(tiling.chunk * tiling.channel_pitch);
    gradient_pitch = tiling.pixels() + 1;
  }
};

inline int64_t GradientBytes(const CudaTiling& tiling) {
  return int64_t{4} *
         (tiling.pixels() + Padded(tiling.channel_pitch) +
          Padded(tiling.chunk * tiling.channel_pitch) + tiling.group * (tiling.pixels() + 1));
}

struct GradientWork {
  int part, group;
  int64_t split, first_tile, end_tile;

  __device__ KS_INLINE explicit GradientWork(const CudaTiling& tiling) {
    part = static_cast<int>(blockIdx.x) % tiling.chunks;
    group = static_cast<int>(blockIdx.x) / tiling.chunks % tiling.groups() * tiling.group;
    split = blockIdx.x / (static_cast<unsigned>(tiling.chunks) * tiling.groups());
    first_tile = tiling.tiles() * split / tiling.splits,
    end_tile = tiling.tiles() * (split + 1) / tiling.splits;
  }
};

inline int64_t GradientBlocks(const CudaTiling& tiling) {
  return int64_t{tiling.splits} * tiling.chunks * tiling.groups();
}

// The next tile into shared memory.
__device__ KS_INLINE void LoadGradientTile(const CudaTiling& tiling, const GradientWork& work,
                                           const Lane& at, int64_t tile, const float* inputs,
                                           const float* gradient, const GradientMemory& memory) {
  const Place place = PlaceOfTile(tiling, tile);
  __syncthreads();
  FindSources(tiling, place, memory.slots);
  FindResults(tiling, place, at, memory.pixels);
  __syncthreads();
  LoadTile(inputs, memory.slots, tiling.channel_pitch, tiling.channel_pitch, tiling.chunk,
           work.part * tiling.chunk, tiling.source_channels, memory.inputs);
  const int lanes = tiling.group < kWarpLanes ? tiling.group : kWarpLanes;
  LoadTile(gradient, memory.pixels, tiling.pixels(), memory.gradient_pitch, lanes, work.group,
           tiling.result_channels, memory.gradients);
  __syncthreads();
}

}  // namespace keras_sparse
