// What one work item packs for the matrices of AMX; amx_products.h and amx_gradients.h have the
// layouts.
#pragma once

#include "custom_ops/cpu/amx_gradients.h"
#include "custom_ops/cpu/amx_products.h"
#include "custom_ops/cpu/block_tables.h"
#include "custom_ops/cpu/lanes.h"
#include "custom_ops/cpu/tile_pixels.h"

namespace keras_sparse::KERAS_SPARSE_INSTRUCTIONS::amx {

using Pixel = uint16_t;  // bfloat16

// The memory that one work item uses, beside its inputs and outputs.
struct MatrixBuffer {
  Pixel *zeros, *outside;
  char *packed, *rows, *pairs;  // pixels for products, and for gradients; output gradients
  char *weights, *copied;
  float* sums;
  const Pixel **inputs, **addends;
  Pixel** outputs;
  int64_t block_bytes, packed_bytes, floats;  // from a block of packed pixels to the next; of all

  MatrixBuffer(const BlockTables& b, int32_t part, float* memory) {
    const LatticeTables& t = b.tile;
    const int64_t tile = int64_t{t.tile_h} * t.tile_w;
    const int64_t blocks = b.part_outputs[part + 1] - b.part_outputs[part];
    const int64_t segments = b.first_segment[part + 1] - b.first_segment[part],
                  active = b.first_active[part + 1] - b.first_active[part];
    char* next = reinterpret_cast<char*>(memory);
    const auto take = [&next](int64_t bytes) {
      char* taken = next;
      next += (bytes + kLine - 1) / kLine * kLine;
      return taken;
    };
    const int64_t channels = t.in_channels > t.out_channels ? t.in_channels : t.out_channels;
    block_bytes = (t.slots | 1) * kBlockBytes;
    packed_bytes = b.summed_blocks * block_bytes;
    zeros = reinterpret_cast<Pixel*>(take(channels * sizeof(Pixel)));
    outside = reinterpret_cast<Pixel*>(take(t.out_channels * sizeof(Pixel)));
    packed = take(packed_bytes);
    rows = take(2 * packed_bytes);
    pairs = take(blocks * GradientBytes(tile / 2));
    weights = take((active / kBlocksAtOnce + segments) * kWeightBytes);
    copied = take(2 * kMostPixels * kCopyBytes);
    sums = reinterpret_cast<float*>(take(blocks * kSide * kMostPixels * kLine));
    inputs = reinterpret_cast<const Pixel**>(take(int64_t{t.pixels} * kLanes * 8));
    addends = reinterpret_cast<const Pixel**>(take(tile * kLanes * 8));
    outputs = reinterpret_cast<Pixel**>(take(tile * kLanes * 8));
    floats = (next - reinterpret_cast<char*>(memory)) / sizeof(float);
  }
};

inline int64_t BufferFloats(const BlockTables& tables, int32_t part) {
  return MatrixBuffer(tables, part, nullptr).floats;
}

// What one work item uses in all its groups of tiles.
struct Item {
  const BlockTables& b;
  const MatrixBuffer buffer;
  const BlockSegments segments;
  const int32_t first_block;
  const OutputChannels channels;

  Item(const BlockTables& tables, const WorkItem& work)
      : b(tables),
        buffer(tables, work.part, work.buffer),
        segments{tables.segments + tables.first_segment[work.part],
                 tables.segments + tables.first_segment[work.part + 1],
                 tables.offsets + tables.first_active[work.part], 0},
        first_block(tables.part_outputs[work.part]),
        channels(ChannelsOf(tables, work.part)) {
    std::memset(buffer.zeros, 0, buffer.packed - reinterpret_cast<char*>(buffer.zeros));
    if (b.tile.in_channels % kSide == 0) return;
    const int64_t last = buffer.packed_bytes - buffer.block_bytes;  // some of its channels
    std::memset(buffer.packed + last, 0, buffer.block_bytes);
    std::memset(buffer.rows + 2 * last, 0, 2 * buffer.block_bytes);
  }

  static OutputChannels ChannelsOf(const BlockTables& b, int32_t part) {
    const int64_t first = int64_t{b.part_outputs[part]} * kSide,
                  end = int64_t{b.part_outputs[part + 1]} * kSide;
    return {first, (end < b.tile.out_channels ? end : b.tile.out_channels) - first};
  }
};

// Two channels of 16 lanes, into the rows of this slot and of the one before.
KS_INLINE void StoreRows(Vector pair, bool has_before, char* row) {
  const __m512i apart = _mm512_maskz_permutexvar_epi16(
      0xffffffff,
      _mm512_set_epi16(31, 29, 27, 25, 23, 21, 19, 17, 15, 13, 11, 9, 7, 5, 3, 1, 30, 28, 26, 24,
                       22, 20, 18, 16, 14, 12, 10, 8, 6, 4, 2, 0),
      (__m512i)pair);
  const __m256i even = _mm512_maskz_extracti64x4_epi64(0xff, apart, 0),
                odd = _mm512_maskz_extracti64x4_epi64(0xff, apart, 1);
  _mm256_store_si256(reinterpret_cast<__m256i*>(row), even);
  _mm256_store_si256(reinterpret_cast<__m256i*>(row + kLine), odd);
  if (!has_before) return;
  row -= kSlotBytes - kLine / 2;
  _mm256_store_si256(reinterpret_cast<__m256i*>(row), even);
  _mm256_store_si256(reinterpret_cast<__m256i*>(row + kLine), odd);
}

// Lanes of one slot: for products, and if kRows for gradients.
template <bool kPairs, bool kRows>
KS_INLINE void PackSlot(const Pixel* const* pixels, int64_t channels, const MatrixBuffer& buffer,
                        int32_t slot) {
  for (int64_t c = 0; c < channels; c += 2 * kLanes) {
    const int64_t left = channels - c;
    Vector r[kLanes];
    for (int lane = 0; lane < kLanes; ++lane)
      r[lane] = left >= 2 * kLanes ? LoadUnaligned(reinterpret_cast<const float*>(pixels[lane] + c))
                                   : LoadPart(pixels[lane] + c, static_cast<int>(left));
    Transpose(r);
    const int pairs = left < 2 * kLanes ? static_cast<int>(left + 1) / 2 : kLanes;
    for (int i = 0; i < pairs; ++i) {
      const int64_t at = (c / kSide + i / 2) * buffer.block_bytes + slot * int64_t{kBlockBytes};
      if (kPairs) Store(reinterpret_cast<float*>(buffer.packed + at + i % 2 * kLine), r[i]);
      if (kRows) StoreRows(r[i], slot > 0, buffer.rows + 2 * at + i % 2 * 2 * kLine);
    }
  }
}

template <bool kPairs, bool kRows>
__attribute__((noinline)) void PackPixels(const LatticeTables& t, const MatrixBuffer& buffer) {
  for (int32_t i = 0; i < t.pixels; ++i)
    PackSlot<kPairs, kRows>(buffer.inputs + i * kLanes, t.in_channels, buffer, t.slot[i]);
}

// Channels of two lanes: 4 of them, lane beside lane, to each output block.
KS_INLINE void StorePair(const Pixel* a, const Pixel* b, int64_t channels, int64_t block_bytes,
                         char* to) {
  for (int64_t c = 0; c < channels; c += 2 * kLanes, to += 8 * block_bytes) {
    const int64_t left = channels - c;
    const bool is_whole = left >= 2 * kLanes;
    const auto read = [&](const Pixel* p) {
      return (__m512i)(is_whole ? LoadUnaligned(reinterpret_cast<const float*>(p + c))
                                : LoadPart(p + c, static_cast<int>(left)));
    };
    const __m512i x = read(a), y = read(b);
    const __m512i low = _mm512_unpacklo_epi16(x, y), high = _mm512_unpackhi_epi16(x, y);
    const int blocks = is_whole ? 8 : static_cast<int>(left + kSide - 1) / kSide;
#define KS_STORE(i)                                                   \
  if (blocks > i)                                                     \
    _mm_store_si128(reinterpret_cast<__m128i*>(to + i * block_bytes), \
                    _mm512_maskz_extracti32x4_epi32(0xff, i % 2 == 0 ? low : high, i / 2));
    KS_STORE(0) KS_STORE(1) KS_STORE(2) KS_STORE(3) KS_STORE(4) KS_STORE(5) KS_STORE(6) KS_STORE(7)
#undef KS_STORE
  }
}

// The output gradient of a group of tiles: buffer.outputs.
inline __attribute__((noinline)) void PackGradients(const LatticeTables& t,
                                                    const OutputChannels& channels,
                                                    const MatrixBuffer& buffer) {
  const int32_t tile = t.tile_h * t.tile_w;
  const int64_t block_bytes = GradientBytes(tile / 2);
  for (int32_t i = 0; i < tile; ++i)
    for (int lane = 0; lane < kLanes; lane += 2) {
      const Pixel* const* const pixels = buffer.outputs + i * kLanes + lane;
      StorePair(pixels[0] + channels.first, pixels[1] + channels.first, channels.count, block_bytes,
                buffer.pairs + i * (kPairBytes / 2) + lane * 8);
    }
}

}  // namespace keras_sparse::KERAS_SPARSE_INSTRUCTIONS::amx
