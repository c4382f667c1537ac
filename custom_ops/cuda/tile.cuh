// How does a tile come into shared memory, and how do its results leave? Both so that lanes take
// the channels of a pixel in device memory, and pixels in shared memory.
#pragma once

#include <cstdint>

#include "custom_ops/cuda/plan.cuh"

namespace keras_sparse {

// Where a tile begins.
struct Place {
  int lattice_y, lattice_x, image, y, x;
};

__device__ KS_INLINE Place PlaceOfTile(const Plan& plan, int64_t tile) {
  Place place;
  place.x = static_cast<int>(tile % plan.x.tiles()) * plan.x.tile, tile /= plan.x.tiles();
  place.y = static_cast<int>(tile % plan.y.tiles()) * plan.y.tile, tile /= plan.y.tiles();
  place.image = static_cast<int>(tile % plan.image_tiles()) * plan.images,
  tile /= plan.image_tiles();
  place.lattice_x = static_cast<int>(tile) % plan.x.lattices,
  place.lattice_y = static_cast<int>(tile) / plan.x.lattices;
  return place;
}

// The list's residue of a tile, or -1 if no tap reaches it.
__device__ KS_INLINE int ResidueOf(const Plan& plan, const Place& place) {
  const int y = plan.y.Residue(place.lattice_y), x = plan.x.Residue(place.lattice_x);
  return y < plan.y.residues && x < plan.x.residues ? y * plan.x.residues + x : -1;
}

// What the lane of a thread adds to its places.
struct Lane {
  int lane, warp, image, row, column, slot;
};

__device__ KS_INLINE Lane ThisLane(const Plan& plan) {
  Lane at;
  at.lane = static_cast<int>(threadIdx.x) % kLanes,
  at.warp = static_cast<int>(threadIdx.x) / kLanes;
  const int part = at.lane / plan.lane_columns;
  at.image = part * plan.lane_images, at.row = part * plan.lane_rows;
  at.column = at.lane % plan.lane_columns * plan.columns;
  at.slot = at.image * plan.image_pitch + at.row * plan.row_pitch + at.column;
  return at;
}

// slots[i]: where the source pixel of slot i begins in the source, -1 where it has none. Such
// tables are computed once for all channels: divisions take longer than reading does.
__device__ KS_INLINE void FindSources(const Plan& plan, const Place& place, int* slots) {
  for (int i = static_cast<int>(threadIdx.x); i < plan.channel_pitch; i += kThreads) {
    const int image = i / plan.image_pitch, row = i % plan.image_pitch / plan.row_pitch;
    const int column = i % plan.image_pitch % plan.row_pitch;
    const int y = plan.y.Source(place.lattice_y, place.y, row),
              x = plan.x.Source(place.lattice_x, place.x, column);
    const bool inside = image < plan.images && place.image + image < plan.batch &&
                        row < plan.y.slots() && column < plan.x.slots() && y >= 0 &&
                        y < plan.y.source && x >= 0 && x < plan.x.source;
    slots[i] = inside ? (((place.image + image) * plan.y.source + y) * plan.x.source + x) *
                            plan.source_channels
                      : -1;
  }
}

// pixels[q * 32 + lane]: where the result pixel begins in the result, or -1; q = place * columns +
// column.
__device__ KS_INLINE void FindResults(const Plan& plan, const Place& place, const Lane& at,
                                      int* pixels) {
  for (int q = at.warp; q < kPlaces * plan.columns; q += kWarps) {
    const int p = q / plan.columns, column = q % plan.columns;
    const int image = place.image + at.image + plan.place_image[p];
    const int y = (place.y + at.row + plan.place_row[p]) * plan.y.lattices + place.lattice_y;
    const int x =
        (place.x + at.column + plan.place_column[p] + column) * plan.x.lattices + place.lattice_x;
    const bool inside = image < plan.batch && y < plan.y.result && x < plan.x.result;
    pixels[q * kLanes + at.lane] =
        inside ? ((image * plan.y.result + y) * plan.x.result + x) * plan.result_channels : -1;
  }
}

// Offsets in shared memory are bytes: then an address is one addition, or none where the offset is
// the same for all lanes.
__device__ KS_INLINE const float* Further(const float* from, int bytes) {
  return reinterpret_cast<const float*>(reinterpret_cast<const char*>(from) + bytes);
}

// Distances of places that kernels are compiled for: matrix products, and 3x3 kernels on tiles 16
// and 8 pixels wide; 0: any other.
constexpr int kWideRows = 32 * 4, kRowsOf16 = 18 * 4, kRowsOf8 = 10 * 4;

template <int kDistance>
__device__ KS_INLINE int PlaceBytes(const Plan& plan, int place) {
  return kDistance != 0 ? place * kDistance : plan.place_bytes[place];
}

// The kernel for the plan's distance of places, of a family.
template <class Kernel>
Kernel ForDistance(const Plan& plan, Kernel any, Kernel wide_rows, Kernel rows_of_16,
                   Kernel rows_of_8) {
  const int distance = plan.place_distance();
  return distance == kWideRows   ? wide_rows
         : distance == kRowsOf16 ? rows_of_16
         : distance == kRowsOf8  ? rows_of_8
                                 : any;
}

// tile[channel * pitch + i] = memory[table[i] + first + channel] for `channels` of them, a power of
// two; 0 where there is none.
__device__ KS_INLINE void LoadTile(const float* __restrict__ memory, const int* table, int count,
                                   int pitch, int channels, int first, int all_channels,
                                   float* tile) {
  constexpr int kBatch = 8;  // loads on their way at the same time
  const int channel = static_cast<int>(threadIdx.x) & (channels - 1), step = kThreads / channels;
  const bool exists = first + channel < all_channels;
  memory += first + channel;
  tile += channel * pitch;
  for (int first_of_batch = static_cast<int>(threadIdx.x) / channels; first_of_batch < count;
       first_of_batch += kBatch * step) {
    float values[kBatch];
    KS_UNROLL
    for (int j = 0; j < kBatch; ++j) {
      const int i = first_of_batch + j * step, at = exists && i < count ? table[i] : -1;
      values[j] = at >= 0 ? __ldg(memory + at) : 0.0f;
    }
    KS_UNROLL
    for (int j = 0; j < kBatch; ++j)
      if (first_of_batch + j * step < count) tile[first_of_batch + j * step] = values[j];
  }
}

// Writes sums[k][q], of channel first + warp * kChannels + k, in steps of 64 pixels through
// `stage`.
template <int kChannels, int kPixels>
__device__ KS_INLINE void StoreResults(const Plan& plan, const Lane& at,
                                       const float (&sums)[kChannels][kPixels], const int* pixels,
                                       int first, float* stage, float* __restrict__ result) {
  constexpr int kGroup = kWarps * kChannels, kPitch = kGroup + 1, kStep = 2;
  KS_UNROLL
  for (int q = 0; q < kPixels; q += kStep) {
    __syncthreads();
    KS_UNROLL
    for (int j = 0; j < kStep; ++j) {
      KS_UNROLL
      for (int k = 0; k < kChannels; ++k)
        stage[(j * kLanes + at.lane) * kPitch + at.warp * kChannels + k] = sums[k][q + j];
    }
    __syncthreads();
    for (int i = static_cast<int>(threadIdx.x); i < kStep * kLanes * kGroup; i += kThreads) {
      const int pixel = pixels[q * kLanes + i / kGroup], channel = i % kGroup;
      if (pixel >= 0 && first + channel < plan.result_channels)
        result[pixel + first + channel] = stage[i / kGroup * kPitch + channel];
    }
  }
}

// Floats that StoreResults needs.
constexpr int StageFloats(int group) { return 2 * kLanes * (group + 1); }

// Numbers of 4 bytes up to a multiple of 16 bytes.
__host__ __device__ KS_INLINE int Padded(int count) { return (count + 3) / 4 * 4; }

}  // namespace keras_sparse
