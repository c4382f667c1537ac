// A product as a call from a program that XLA compiles for a GPU: the names and numbers that both
// sides of the call agree on.
#pragma once

#include <array>
#include <cstdint>
#include <cstring>

#include "custom_ops/contract/product.h"

namespace keras_sparse {

constexpr char kXlaGpuCall[] = "keras_sparse_product";  // the name of the handler
constexpr int kSizeNumbers = sizeof(ConvSizes) / sizeof(int64_t);

// What the handler gets beside the tensors.
using CallNumbers = std::array<int64_t, kSizeNumbers + 4>;

inline CallNumbers NumbersOf(Product product, const Convolution& c) {
  CallNumbers numbers;
  std::memcpy(numbers.data(), &c.sizes, sizeof c.sizes);
  int64_t* rest = numbers.data() + kSizeNumbers;
  rest[0] = static_cast<int64_t>(product);
  rest[1] = static_cast<int64_t>(c.type);
  rest[2] = c.structure.kind;
  rest[3] = c.structure.block;
  return numbers;
}

// Kernels for GPUs have no dilation.
inline Convolution ConvolutionOf(const CallNumbers& numbers) {
  Convolution c;
  std::memcpy(&c.sizes, numbers.data(), sizeof c.sizes);
  const int64_t* rest = numbers.data() + kSizeNumbers;
  c.type = static_cast<ElementType>(rest[1]);
  c.structure = {static_cast<MaskStructure::Kind>(rest[2]), static_cast<int>(rest[3])};
  return c;
}

inline Product ProductOf(const CallNumbers& numbers) {
  return static_cast<Product>(numbers[kSizeNumbers]);
}

}  // namespace keras_sparse
