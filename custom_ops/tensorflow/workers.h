// The worker threads of TensorFlow, as the kernels for CPUs use them.
#pragma once

#include <atomic>
#include <functional>
#include <new>

#include "custom_ops/contract/parallel.h"
#include "tensorflow/core/framework/device_base.h"
#include "tensorflow/core/util/work_sharder.h"

namespace keras_sparse {

// Parts run on TensorFlow's worker threads. A part that finds no memory says so: no exception may
// cross those threads.
inline Parallel OnWorkers(const tensorflow::DeviceBase::CpuWorkerThreads& workers,
                          std::atomic<bool>* out_of_memory) {
  Parallel parallel;
  parallel.threads = workers.num_threads;
  parallel.run = [&workers, out_of_memory](int64_t parts, int64_t cycles,
                                           const std::function<void(int64_t)>& part) {
    tensorflow::Shard(workers.num_threads, workers.workers, parts, cycles,
                      [&](int64_t begin, int64_t end) {
                        try {
                          for (int64_t i = begin; i < end; ++i) part(i);
                        } catch (const std::bad_alloc&) {
                          *out_of_memory = true;
                        }
                      });
  };
  return parallel;
}

}  // namespace keras_sparse
