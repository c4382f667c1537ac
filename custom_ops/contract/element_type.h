// The types of inputs, kernel and outputs, and how 16 bits become a float and a float 16 bits.
//
// Sums are float32 for every type. Functions are inlined wherever they are called, so that files
// built for different processors never share one.
#pragma once

#include <cstdint>
#include <cstring>

namespace keras_sparse {

// All types: whoever lists them expands this list. On tensor cores float32 is computed in TF32,
// elsewhere by IEEE's rules.
#define KS_ELEMENT_TYPES(X) X(Float32) X(BFloat16) X(Float16)

#define KS_ENUMERATOR(NAME) k##NAME,
#define KS_ONE(NAME) +1
#define KS_TEXT(NAME) #NAME,
enum class ElementType { KS_ELEMENT_TYPES(KS_ENUMERATOR) };
constexpr int kElementTypes = 0 KS_ELEMENT_TYPES(KS_ONE);
constexpr const char* kElementNames[] = {KS_ELEMENT_TYPES(KS_TEXT)};  // by ElementType
#undef KS_ENUMERATOR
#undef KS_ONE
#undef KS_TEXT

constexpr int64_t ElementBytes(ElementType type) { return type == ElementType::kFloat32 ? 4 : 2; }

#define KS_CONVERSION inline __attribute__((always_inline))

KS_CONVERSION uint32_t BitsOf(float value) {
  uint32_t bits;
  std::memcpy(&bits, &value, sizeof bits);
  return bits;
}

KS_CONVERSION float FloatOfBits(uint32_t bits) {
  float value;
  std::memcpy(&value, &bits, sizeof value);
  return value;
}

KS_CONVERSION float FloatOfBFloat16(uint16_t value) {
  return FloatOfBits(static_cast<uint32_t>(value) << 16);
}

// The nearest, the even one of two; a NaN stays one.
KS_CONVERSION uint16_t BFloat16Of(float value) {
  const uint32_t bits = BitsOf(value);
  const bool is_nan = (bits & 0x7fffffff) > 0x7f800000;
  return static_cast<uint16_t>((is_nan ? bits | 0x400000 : bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}

KS_CONVERSION float FloatOfFloat16(uint16_t value) {
  const uint32_t sign = static_cast<uint32_t>(value & 0x8000) << 16, rest = value & 0x7fff;
  if (rest >= 0x7c00)
    return FloatOfBits(sign | 0x7f800000 | (rest & 0x3ff) << 13 | (rest > 0x7c00) << 22);
  if (rest >= 0x400) return FloatOfBits(sign | ((rest << 13) + (112u << 23)));
  return FloatOfBits(sign | BitsOf(static_cast<float>(rest) * (1.0f / (1 << 24))));
}

// The nearest, the even one of two; infinity from 65520 on.
KS_CONVERSION uint16_t Float16Of(float value) {
  const uint32_t bits = BitsOf(value), rest = bits & 0x7fffffff;
  const uint16_t sign = bits >> 16 & 0x8000;
  if (rest > 0x7f800000) return static_cast<uint16_t>(sign | 0x7e00 | (rest >> 13 & 0x1ff));
  if (rest >= 0x477ff000) return sign | 0x7c00;
  if (rest >= 0x38800000)
    return static_cast<uint16_t>(sign | (rest - (112u << 23) + 0xfff + (rest >> 13 & 1)) >> 13);
  // 0.5 is as far from the next float as numbers below 2^-14 are from each other.
  return static_cast<uint16_t>(sign | (BitsOf(FloatOfBits(rest) + 0.5f) - BitsOf(0.5f)));
}

// The nearest value that the type has.
KS_CONVERSION float RoundedTo(ElementType type, float value) {
  if (type == ElementType::kFloat32) return value;
  return type == ElementType::kBFloat16 ? FloatOfBFloat16(BFloat16Of(value))
                                        : FloatOfFloat16(Float16Of(value));
}

// Element i of an array of this type.
KS_CONVERSION float FloatAt(ElementType type, const void* values, int64_t i) {
  if (type == ElementType::kFloat32) return static_cast<const float*>(values)[i];
  const uint16_t bits = static_cast<const uint16_t*>(values)[i];
  return type == ElementType::kBFloat16 ? FloatOfBFloat16(bits) : FloatOfFloat16(bits);
}

KS_CONVERSION void SetElement(ElementType type, void* values, int64_t i, float value) {
  if (type == ElementType::kFloat32) {
    static_cast<float*>(values)[i] = value;
  } else {
    static_cast<uint16_t*>(values)[i] =
        type == ElementType::kBFloat16 ? BFloat16Of(value) : Float16Of(value);
  }
}

// The type of a kernel in memory, and the type to which its values are rounded when they are read.
struct KernelType {
  ElementType in_memory, rounded_to;

  __attribute__((always_inline)) float At(const void* kernel, int64_t i) const {
    const float value = FloatAt(in_memory, kernel, i);
    return in_memory == rounded_to ? value : RoundedTo(rounded_to, value);
  }
  __attribute__((always_inline)) bool IsFloat32() const {
    return in_memory == ElementType::kFloat32;
  }
};

}  // namespace keras_sparse
