// The pixels that a block of threads computes, and where in shared memory those lie that it reads.
//
// `Result` pixels are computed from `source` pixels: outputs from inputs, or input gradients from
// output gradients. The result pixels of an axis are `lattices` interleaved grids: one, or for the
// input gradient one for each phase of the stride. All pixels of a grid use the same taps, those of
// one residue, so no multiplication is wasted.
#pragma once

#include <cstdint>

#include "custom_ops/contract/numbers.h"
#include "custom_ops/cuda/cores.h"
#include "custom_ops/cuda/launch.cuh"

namespace keras_sparse {

constexpr int kThreads = 256, kWarpLanes = 32, kWarps = kThreads / kWarpLanes;
constexpr int kPlaces = 8;  // a thread computes this many pixels, or pairs of neighbours in a row

// One axis of the image. Source pixels of a tile lie in slots: those that are `step` apart are
// neighbours, so that lanes, which compute neighbours, read neighbours.
struct Axis {
  bool transposed;  // the input gradient
  int source, result, taps, stride, pad;
  int lattices, residues;  // grids of the result; those of them that have taps
  int most_taps;           // of a grid
  int span;                // the most of them that read one plane
  int grid;                // pixels of the largest grid
  int tile;                // pixels of a tile, a power of two
  int planes, plane;       // slots of a tile: planes * plane

  __host__ __device__ int slots() const { return planes * plane; }
  __host__ __device__ int tiles() const { return DivideUp(grid, tile); }

  // The taps of a grid are residue, residue + tap_step, ...; none if residue >= residues.
  __host__ __device__ int Residue(int lattice) const {
    return transposed ? (lattice + pad) % stride : 0;
  }
  __host__ __device__ int tap_step() const { return transposed ? stride : 1; }

  // Where the first pixel of a tile sees its source pixel by this tap; pixel i: i slots further.
  __host__ __device__ int Slot(int tap) const {
    return transposed ? span - 1 - tap / stride : tap % stride * plane + tap / stride;
  }
  // Which source pixel is in a slot, of the tile that begins at pixel `origin` of the grid. May be
  // outside.
  __host__ __device__ int Source(int lattice, int origin, int slot) const {
    const int index = origin + slot % plane;
    return transposed ? index + (lattice + pad) / stride - (span - 1)
                      : index * stride + slot / plane - pad;
  }
};

// A tile: `images` * y.tile * x.tile pixels, 32 * 8 * `columns`. Lanes take neighbours in x, and
// where a row has too few, further images or rows; a thread's places are the rest. Pitches, in
// floats, keep lanes in different banks.
struct CudaTiling {
  Axis y, x;
  int batch, images, columns;
  int row_pitch, image_pitch, channel_pitch;
  int lane_columns, lane_images,
      lane_rows;  // lane: column lane % lane_columns; the quotient moves by images or rows
  int place_image[kPlaces], place_row[kPlaces], place_column[kPlaces];
  int place_bytes[kPlaces];  // from the first slot of the thread, in shared memory

  int source_channels, result_channels;
  int chunk, chunks;  // source channels in shared memory at a time, a power of two
  int group;          // result channels of a block
  int source_stride, result_stride, tap_stride;  // in the kernel
  bool pairs;                                    // lists of channel pairs, not of weights
  int splits;                                    // kernel gradient: parts of the pixels

  __host__ __device__ int groups() const { return DivideUp(result_channels, group); }
  __host__ __device__ int image_tiles() const { return DivideUp(batch, images); }
  __host__ __device__ int lattices() const { return y.lattices * x.lattices; }
  __host__ __device__ int64_t tiles() const {
    return int64_t{lattices()} * image_tiles() * y.tiles() * x.tiles();
  }
  __host__ __device__ int pixels() const { return kWarpLanes * kPlaces * columns; }

  // The distance of two places where all are equally far, else 0. Kernels for the usual ones know
  // it when compiled: then the places are in the instructions, and need no additions.
  int place_distance() const {
    for (int place = 0; place < kPlaces; ++place)
      if (place_bytes[place] != place * place_bytes[1]) return 0;
    return place_bytes[1];
  }

  // A list for each residue, chunk of source channels and result channel, with room for all that
  // could be active.
  __host__ __device__ int64_t lists() const {
    return int64_t{y.residues} * x.residues * chunks * result_channels;
  }
  __host__ __device__ int64_t List(int residue, int part, int channel) const {
    return (int64_t{residue} * chunks + part) * result_channels + channel;
  }
  __host__ __device__ int room() const {
    return pairs ? chunk : (chunk * y.most_taps * x.most_taps + 1) / 2 * 2;
  }
};

// False if not even one channel of a tile fits into shared memory.
bool MakeCudaTiling(Product product, const Convolution& convolution, CudaTiling* tiling);

}  // namespace keras_sparse
