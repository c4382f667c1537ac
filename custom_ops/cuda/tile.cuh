// A tile comes into shared memory, and its results leave. Both so that lanes take the channels of a
// pixel in device memory, and pixels in shared memory.
#pragma once

#include <cstdint>

#include "custom_ops/cuda/tiling.cuh"

namespace keras_sparse {

// Where a tile begins.
struct Place {
  int lattice_y, lattice_x, image, y, x;
};

__device__ KS_INLINE Place PlaceOfTile(const CudaTiling& tiling, int64_t tile) {
  Place place;
  place.x = static_cast<int>(tile % tiling.x.tiles()) * tiling.x.tile, tile /= tiling.x.tiles();
  place.y = static_cast<int>(tile % tiling.y.tiles()) * tiling.y.tile, tile /= tiling.y.tiles();
  place.image = static_cast<int>(tile % tiling.image_tiles()) * tiling.images,
  tile /= tiling.image_tiles();
  place.lattice_x = static_cast<int>(tile) % tiling.x.lattices,
  place.lattice_y = static_cast<int>(tile) / tiling.x.lattices;
  return place;
}

// The list's residue of a tile, or -1 if no tap reaches it.
__device__ KS_INLINE int ResidueOf(const CudaTiling& tiling, const Place& place) {
  const int y = tiling.y.Residue(place.lattice_y), x = tiling.x.Residue(place.lattice_x);
  return y < tiling.y.residues && x < tiling.x.residues ? y * tiling.x.residues + x : -1;
}

// What the lane of a thread adds to its places.
struct Lane {
  int lane, warp, image, row, column, slot;
};

__device__ KS_INLINE Lane ThisLane(const CudaTiling& tiling) {
  Lane at;
  at.lane = static_cast<int>(threadIdx.x) % kWarpLanes,
  at.warp = static_cast<int>(threadIdx.x) / kWarpLanes;
  const int part = at.lane / tiling.lane_columns;
  at.image = part * tiling.lane_images, at.row = part * tiling.lane_rows;
  at.column = at.lane % tiling.lane_columns * tiling.columns;
  at.slot = at.image * tiling.image_pitch + at.row * tiling.row_pitch + at.column;
  return at;
}

// slots[i]: where the source pixel of slot i begins in the source, -1 where it has none. Such
// tables are computed once for all channels: divisions take longer than reading does.
__device__ KS_INLINE void FindSources(const CudaTiling& tiling, const Place& place, int* slots) {
  for (int i = static_cast<int>(threadIdx.x); i < tiling.channel_pitch; i += kThreads) {
    const int image = i / tiling.image_pitch, row = i % tiling.image_pitch / tiling.row_pitch;
    const int column = i % tiling.image_pitch % tiling.row_pitch;
    const int y = tiling.y.Source(place.lattice_y, place.y, row),
              x = tiling.x.Source(place.lattice_x, place.x, column);
    const bool inside = image < tiling.images && place.image + image < tiling.batch &&
                        row < tiling.y.slots() && column < tiling.x.slots() && y >= 0 &&
                        y < tiling.y.source && x >= 0 && x < tiling.x.source;
    slots[i] = inside ? (((place.image + image) * tiling.y.source + y) * tiling.x.source + x) *
                            tiling.source_channels
                      : -1;
  }
}

// pixels[q * 32 + lane]: where the result pixel begins in the result, or -1; q = place * columns +
// column.
__device__ KS_INLINE void FindResults(const CudaTiling& tiling, const Place& place, const Lane& at,
                                      int* pixels) {
  for (int q = at.warp; q < kPlaces * tiling.columns; q += kWarps) {
    const int p = q / tiling.columns, column = q % tiling.columns;
    const int image = place.image + at.image + tiling.place_image[p];
    const int y = (place.y + at.row + tiling.place_row[p]) * tiling.y.lattices + place.lattice_y;
    const int x = (place.x + at.column + tiling.place_column[p] + column) * tiling.x.lattices +
                  place.lattice_x;
    const bool inside = image < tiling.batch && y < tiling.y.result && x < tiling.x.result;
    pixels[q * kWarpLanes + at.lane] =
        inside ? ((image * tiling.y.result + y) * tiling.x.result + x) * tiling.result_channels
               : -1;
  }
}

// Offsets in shared memory are bytes: then an address is one addition, or none where the offset is
// the same for all lanes.
__device__ KS_INLINE const float* Further(const float* from, int bytes) {
  return reinterpret_cast<const float*>(reinterpret_cast<const char*>(from) + bytes);
}

// A window of 4 floats slides over the rows of a strip of a 3x3 kernel's source pixels. Calls
// use(tap, result pixel of the strip, source value) for each multiplication, all of them unrolled.
template <int kStrip, class Use>
__device__ KS_INLINE void ForEachOfStrip(const float* source, int row_bytes, Use use) {
  KS_UNROLL
  for (int row = 0; row < kStrip + 2; ++row) {
    const float2* words = reinterpret_cast<const float2*>(Further(source, row * row_bytes));
    const float2 left = words[0], right = words[1];
    const float window[4] = {left.x, left.y, right.x, right.y};
    KS_UNROLL
    for (int y = 0; y < 3; ++y) {
      if (row - y < 0 || row - y >= kStrip) continue;
      KS_UNROLL
      for (int x = 0; x < 3; ++x) {
        KS_UNROLL
        for (int column = 0; column < 2; ++column)
          use(y * 3 + x, (row - y) * 2 + column, window[column + x]);
      }
    }
  }
}

// Distances of places that kernels are compiled for: matrix products, and 3x3 kernels on tiles 16
// and 8 pixels wide; 0: any other.
constexpr int kWideRows = 32 * 4, kRowsOf16 = 18 * 4, kRowsOf8 = 10 * 4;

template <int kDistance>
__device__ KS_INLINE int PlaceBytes(const CudaTiling& tiling, int place) {
  return kDistance != 0 ? place * kDistance : tiling.place_bytes[place];
}

// The kernel for the tiling's distance of places, of a family.
template <class Kernel>
Kernel ForDistance(const CudaTiling& tiling, Kernel any, Kernel wide_rows, Kernel rows_of_16,
                   Kernel rows_of_8) {
  const int distance = tiling.place_distance();
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
__device__ KS_INLINE void StoreResults(const CudaTiling& tiling, const Lane& at,
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
        stage[(j * kWarpLanes + at.lane) * kPitch + at.warp * kChannels + k] = sums[k][q + j];
    }
    __syncthreads();
    for (int i = static_cast<int>(threadIdx.x); i < kStep * kWarpLanes * kGroup; i += kThreads) {
      const int pixel = pixels[q * kWarpLanes + i / kGroup], channel = i % kGroup;
      if (pixel >= 0 && first + channel < tiling.result_channels)
        result[pixel + first + channel] = stage[i / kGroup * kPitch + channel];
    }
  }
}

// Floats that StoreResults needs.
constexpr int StageFloats(int group) { return 2 * kWarpLanes * (group + 1); }

// Numbers of 4 bytes up to a multiple of 16 bytes.
__host__ __device__ KS_INLINE int Padded(int count) { return DivideUp(count, 4) * 4; }

}  // namespace keras_sparse
