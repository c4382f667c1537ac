// The loops over blocks for processors with AMX, and whether this one may use them. Built with the
// instructions of avx512.cc.
#include "custom_ops/cpu/kernels.h"

#if defined(__linux__) && __GNUC__ >= 11  // clang has no such pragma, and calls itself 4
#pragma GCC push_options
#pragma GCC target("amx-tile,amx-bf16,avx512bf16")
#include <cpuid.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "custom_ops/cpu/amx_blocks.h"

namespace keras_sparse {
namespace {

constexpr int kAskForPermission = 0x1023, kMatrixData = 18;  // arch_prctl

// Linux gives the registers to a process that asks.
bool MayUseMatrices() {
  unsigned a = 0, b = 0, c = 0, d = 0;
  if (__get_cpuid_count(7, 0, &a, &b, &c, &d) == 0) return false;
  const unsigned bfloat16 = 1u << 22, matrices = 1u << 24;
  if ((d & bfloat16) == 0 || (d & matrices) == 0) return false;
  const unsigned rounding = 1u << 5;  // of vectors
  if (__get_cpuid_count(7, 1, &a, &b, &c, &d) == 0 || (a & rounding) == 0) return false;
  return syscall(SYS_arch_prctl, kAskForPermission, kMatrixData) == 0;
}

}  // namespace

const BlockLoops* AmxBlockLoops() {
  namespace amx = avx512::amx;
  static const BlockLoops loops = {amx::MultiplyTiles,
                                   amx::GradientTiles,
                                   amx::BothGradientsTiles,
                                   amx::BufferFloats,
                                   amx::kBlockBytes / int{sizeof(float)},
                                   amx::kBlockBytes / amx::kSide / int{sizeof(float)},
                                   amx::kMostPixels,
                                   true};
  static const bool may_use = MayUseMatrices();
  return may_use ? &loops : nullptr;
}

}  // namespace keras_sparse
#pragma GCC pop_options
#else
const keras_sparse::BlockLoops* keras_sparse::AmxBlockLoops() { return nullptr; }
#endif
