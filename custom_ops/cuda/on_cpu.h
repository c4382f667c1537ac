// CUDA kernels run on a CPU as they are: g++ compiles them with this header in CUDA's place.
//
// The threads of a block are fibers of one CPU thread: each runs to its next barrier. Blocks run
// one after the other. Shared memory is new for each block and full of NaN. Under ThreadSanitizer
// fibers count as threads that only barriers order, so a missing __syncthreads is a data race. What
// the kernels do not use is not here.
#pragma once

#include <ucontext.h>

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <memory>
#include <type_traits>

#if defined(__SANITIZE_THREAD__)
#include <sanitizer/tsan_interface.h>
#endif

#define __global__
#define __device__
#define __host__
#define __launch_bounds__(...)

struct alignas(8) float2 {
  float x, y;
};
struct alignas(16) float4 {
  float x, y, z, w;
};
struct alignas(8) int2 {
  int x, y;
};
struct alignas(16) int4 {
  int x, y, z, w;
};

template <class T>
T __ldg(const T* address) {
  return *address;
}

namespace keras_sparse::cuda_on_cpu {

// The bookkeeping is shared by all fibers on purpose; ThreadSanitizer is to look at the kernels
// alone.
#define KS_BOOKKEEPING __attribute__((noinline, no_sanitize("thread")))

constexpr int kMostThreads = 256, kWarpSize = 32, kStackBytes = 256 << 10;

struct Index {
  unsigned x;
};

// Where a fiber or the scheduler goes on.
struct Place {
  ucontext_t context;  // of a fiber that has not begun; with a sanitizer always
  void* jump[5];
  bool has_begun;
};

enum class State { kReady, kAtBarrier, kAtShuffle, kDone };

struct Machine {
  Place scheduler, fibers[kMostThreads];
  State states[kMostThreads];
  void *scheduler_fiber, *sanitizer_fibers[kMostThreads];
  const std::function<void()>* kernel;
  std::unique_ptr<char[]> stacks[kMostThreads];
  char* shared;
  unsigned block, current, threads;
  unsigned barriers[kMostThreads], shuffles[kMostThreads];  // how many the thread has passed
  char barrier_of_turn[2], start, end;  // addresses that stand for what orders memory
  float exchanged[2][kMostThreads];
};

inline Machine machine;

// What ThreadSanitizer has to know: which fiber runs, and what a barrier orders.
#if defined(__SANITIZE_THREAD__)
inline void* NewFiber() { return __tsan_create_fiber(0); }
inline void* ThisFiber() { return __tsan_get_current_fiber(); }
inline void SwitchTo(void* fiber) { __tsan_switch_to_fiber(fiber, __tsan_switch_to_fiber_no_sync); }
inline void Release(char* what) { __tsan_release(what); }
inline void Acquire(char* what) { __tsan_acquire(what); }
#else
inline void* NewFiber() { return nullptr; }
inline void* ThisFiber() { return nullptr; }
inline void SwitchTo(void*) {}
inline void Release(char*) {}
inline void Acquire(char*) {}
#endif

KS_BOOKKEEPING inline Index ThreadIndex() { return {machine.current}; }
KS_BOOKKEEPING inline Index BlockIndex() { return {machine.block}; }
KS_BOOKKEEPING inline char* SharedBytes() { return machine.shared; }

// Leaves one place for another. Without a system call: swapcontext, which sanitizers know, makes
// one for the mask of signals, and took most of the time of grid_test.
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
KS_BOOKKEEPING inline void Leave(Place* from, Place* to) {
  swapcontext(&from->context, &to->context);
}
#else
[[noreturn]] KS_BOOKKEEPING inline void JumpTo(Place* to) {
  if (to->has_begun) __builtin_longjmp(to->jump, 1);
  to->has_begun = true;
  setcontext(&to->context);
  std::abort();
}

KS_BOOKKEEPING inline void Leave(Place* from, Place* to) {
  from->has_begun = true;
  if (__builtin_setjmp(from->jump) == 0) JumpTo(to);
}
#endif

// Back to the scheduler, until it lets this thread go on.
KS_BOOKKEEPING inline void Wait(State state) {
  const unsigned thread = machine.current;
  machine.states[thread] = state;
  SwitchTo(machine.scheduler_fiber);
  Leave(&machine.fibers[thread], &machine.scheduler);
}

// Two addresses take turns: a thread that is early at the next barrier must not order what others
// do after this one.
KS_BOOKKEEPING inline void Barrier() {
  char* turn = &machine.barrier_of_turn[machine.barriers[machine.current]++ % 2];
  Release(turn);
  Wait(State::kAtBarrier);
  Acquire(turn);
}

// Orders no memory, as on the GPU.
KS_BOOKKEEPING inline float Shuffle(float value, int lanes) {
  const unsigned thread = machine.current, turn = machine.shuffles[thread]++ % 2;
  machine.exchanged[turn][thread] = value;
  Wait(State::kAtShuffle);
  return machine.exchanged[turn][thread ^ lanes];
}

KS_BOOKKEEPING inline const std::function<void()>* Kernel() { return machine.kernel; }

// A fiber lives as long as the program, and runs its thread of one block after the other.
inline void RunFiber() {
  for (;;) {
    Acquire(&machine.start);
    (*Kernel())();
    Release(&machine.end);
    Wait(State::kDone);
  }
}

KS_BOOKKEEPING inline void PrepareFiber(unsigned thread) {
  machine.states[thread] = State::kReady;
  if (machine.stacks[thread] != nullptr) return;
  machine.stacks[thread].reset(new char[kStackBytes]);
  machine.sanitizer_fibers[thread] = NewFiber();
  ucontext_t* context = &machine.fibers[thread].context;
  getcontext(context);
  context->uc_stack.ss_sp = machine.stacks[thread].get();
  context->uc_stack.ss_size = kStackBytes;
  context->uc_link = nullptr;
  makecontext(context, RunFiber, 0);
}

// Runs each thread of a warp to where it waits; true if all of them wait in the same way.
KS_BOOKKEEPING inline bool StepWarp(unsigned first, unsigned end) {
  for (machine.current = first; machine.current < end; ++machine.current) {
    SwitchTo(machine.sanitizer_fibers[machine.current]);
    Leave(&machine.scheduler, &machine.fibers[machine.current]);
  }
  for (unsigned thread = first; thread < end; ++thread)
    if (machine.states[thread] != machine.states[first]) return false;
  return true;
}

KS_BOOKKEEPING inline void RunBlock() {
  for (unsigned thread = 0; thread < machine.threads; ++thread) PrepareFiber(thread);
  machine.scheduler_fiber = ThisFiber();
  Release(&machine.start);
  do {
    bool together = true;
    for (unsigned first = 0; first < machine.threads; first += kWarpSize) {
      do together = StepWarp(first, first + kWarpSize) && together;
      while (together && machine.states[first] == State::kAtShuffle);
      together = together && machine.states[first] == machine.states[0];
    }
    if (!together)
      std::fprintf(stderr, "Not all threads of a block reach the same barrier.\n"), std::abort();
  } while (machine.states[0] != State::kDone);
  Acquire(&machine.end);
}

// As `kernel<<<blocks, threads, shared_bytes>>>(arguments...)`.
template <class... P>
int Launch(void (*kernel)(P...), int64_t blocks, int threads, int64_t shared_bytes,
           std::common_type_t<P>... arguments) {
  if (threads > kMostThreads || threads % kWarpSize != 0) return 1;
  const std::function<void()> call = [&] { kernel(arguments...); };
  machine.kernel = &call;
  machine.threads = static_cast<unsigned>(threads);
  for (machine.block = 0; machine.block < blocks; ++machine.block) {
    const std::unique_ptr<char[]> shared(new char[shared_bytes]);
    std::memset(shared.get(), 0xff, shared_bytes);
    machine.shared = shared.get();
    RunBlock();
  }
  return 0;
}

}  // namespace keras_sparse::cuda_on_cpu

#define threadIdx (keras_sparse::cuda_on_cpu::ThreadIndex())
#define blockIdx (keras_sparse::cuda_on_cpu::BlockIndex())

inline void __syncthreads() { keras_sparse::cuda_on_cpu::Barrier(); }
inline float __shfl_xor_sync(unsigned, float value, int lanes) {
  return keras_sparse::cuda_on_cpu::Shuffle(value, lanes);
}
