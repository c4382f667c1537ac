// Where does a kernel keep what it needs for one call? In memory that each thread keeps and reuses.
#pragma once

#include <cstdint>
#include <cstdlib>
#include <new>

namespace keras_sparse {

// Memory of one thread, aligned to 64 bytes; valid until the thread asks again for the same slot.
class Scratch {
 public:
  enum Slot { kWork, kLaneSums, kValues, kSlots };  // kSlots counts the slots before it

  static float* Get(Slot slot, int64_t floats) {
    static thread_local Scratch scratch[kSlots];
    return scratch[slot].Reserve(floats);
  }

  ~Scratch() { std::free(memory_); }

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
