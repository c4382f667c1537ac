// A kernel runs on its caller's threads: it cuts its work into parts and hands them over.
#pragma once

#include <cstdint>
#include <functional>

namespace keras_sparse {

// Runs part(0) ... part(parts - 1), each once, in any order and on any threads; returns when all
// are done.
struct Parallel {
  int threads = 1;  // how many parts are worth making
  std::function<void(int64_t parts, int64_t cycles_per_part,
                     const std::function<void(int64_t)>& part)>
      run = [](int64_t parts, int64_t, const std::function<void(int64_t)>& part) {
        for (int64_t i = 0; i < parts; ++i) part(i);
      };
};

}  // namespace keras_sparse
