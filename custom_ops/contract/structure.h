// What a mask is declared to be made of. It chooses the kernels on GPUs; each of them is right for
// every mask. Those for CPUs look at the mask itself.
#pragma once

namespace keras_sparse {

struct MaskStructure {
  enum Kind {
    kWeights,       // any weight may be missing
    kChannelPairs,  // all taps of an input and an output channel share the mask
    kBlocks,        // `block` input channels by `block` output channels of one tap share it
  };

  static MaskStructure Weights() { return {kWeights, 0}; }
  static MaskStructure ChannelPairs() { return {kChannelPairs, 0}; }
  static MaskStructure Blocks(int block) { return {kBlocks, block}; }

  Kind kind = kWeights;
  int block = 0;  // 0 unless the mask is made of blocks
};

}  // namespace keras_sparse
