// Why is this here? XLA's headers include HighwayHash, which TensorFlow's wheel leaves out; none of
// it is ever called.
#pragma once

namespace highwayhash {
template <int Target>
class HighwayHashCatT {};
}  // namespace highwayhash
