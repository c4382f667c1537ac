// Memory that a kernel needs for one call: each thread keeps it, and uses it again.
#pragma once

#include <cstdint>
#include <cstdlib>
#include <new>

namespace keras_sparse {

// Aligned to 64 bytes; valid until the thread asks again for the same slot.
class ThreadMemory {
 public:
  enum Slot { kWorkBuffer, kLaneSums, kValues, kSums };
  static constexpr int kSlots = 4;
  static_assert(kSums + 1 == kSlots, "one slot for each enumerator");

  static float* Get(Slot slot, int64_t floats) {
    static thread_local ThreadMemory memory[kSlots];
    return memory[slot].Reserve(floats);
  }

  ~ThreadMemory() { std::free(memory_); }

 private:
  float* Reserve(int64_t floats) {
    if (floats <= floats_) return memory_;
    std::free(memory_);
    memory_ = static_cast<float*>(std::aligned_alloc(64, (floats * sizeof(float) + 63) / 64 * 64));
    floats_ = memory_ == nullptr ? 0 : floats;
    if (memory_ == nullptr) throw std::bad_alloc();
    return memory_;
  }

  float* memory_ = nullptr;
  int64_t floats_ = 0;
};

}  // namespace keras_sparse
