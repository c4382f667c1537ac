// The types of inputs, kernel and outputs.
#pragma once

namespace keras_sparse {

// On tensor cores float32 is computed in TF32, elsewhere by IEEE's rules.
enum class ElementType { kFloat32, kBFloat16, kFloat16 };

}  // namespace keras_sparse
