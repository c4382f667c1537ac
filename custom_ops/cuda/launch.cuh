// A kernel is started on the GPU where nvcc compiles it, on the CPU where another compiler does.
//
// Nothing here waits or allocates. All functions return 0 or the cudaError_t.
#pragma once

#include <cstdint>
#include <cstring>
#include <type_traits>

#if defined(__CUDACC__)
#include <cuda_runtime.h>
#define KS_UNROLL _Pragma("unroll")
#define KS_UNROLL_2 _Pragma("unroll 2")
#define KS_UNROLL_4 _Pragma("unroll 4")
#define KS_INLINE __forceinline__
#else
#include "custom_ops/cuda/on_cpu.h"
#define KS_UNROLL
#define KS_UNROLL_2
#define KS_UNROLL_4
#define KS_INLINE inline
#endif

namespace keras_sparse {

#if defined(__CUDACC__)

// What the launch asked for, aligned to 16 bytes.
__device__ KS_INLINE float* SharedMemory() {
  extern __shared__ float4 shared_memory[];
  return reinterpret_cast<float*>(shared_memory);
}

template <class... P>
int Launch(void (*kernel)(P...), int64_t blocks, int threads, int64_t shared_bytes, void* stream,
           std::common_type_t<P>... arguments) {
  constexpr int64_t kWithoutAsking = 48 << 10;
  const void* function = reinterpret_cast<const void*>(kernel);
  if (shared_bytes > kWithoutAsking) {
    const cudaError_t error = cudaFuncSetAttribute(
        function, cudaFuncAttributeMaxDynamicSharedMemorySize, static_cast<int>(shared_bytes));
    if (error != cudaSuccess) return error;
  }
  void* pointers[] = {&arguments...};
  return cudaLaunchKernel(function, dim3(static_cast<unsigned>(blocks)), dim3(threads), pointers,
                          shared_bytes, static_cast<cudaStream_t>(stream));
}

inline int SetToZero(void* memory, int64_t bytes, void* stream) {
  return cudaMemsetAsync(memory, 0, bytes, static_cast<cudaStream_t>(stream));
}

#else

inline float* SharedMemory() { return reinterpret_cast<float*>(cuda_on_cpu::SharedBytes()); }

template <class... P>
int Launch(void (*kernel)(P...), int64_t blocks, int threads, int64_t shared_bytes, void*,
           std::common_type_t<P>... arguments) {
  return cuda_on_cpu::Launch(kernel, blocks, threads, shared_bytes, arguments...);
}

inline int SetToZero(void* memory, int64_t bytes, void*) {
  std::memset(memory, 0, bytes);
  return 0;
}

#endif

}  // namespace keras_sparse
