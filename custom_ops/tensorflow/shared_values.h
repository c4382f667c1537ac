// What one operation of a step computes for another one: the values of the active weights of a
// kernel, or a kernel gradient. share_values.cc, hand_values.cc and share_gradients.cc give such a
// pair of operations one name.
//
// The tensors that the values were computed from are kept until the other one has taken the values.
// TensorFlow changes no memory that two tensors share, so tensors at the same addresses are the
// same.
#pragma once

#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "tensorflow/core/framework/tensor.h"
#include "tensorflow/core/platform/mutex.h"

namespace keras_sparse {

constexpr size_t kLargeKernel = 2 << 20;  // bytes; a smaller one costs little to read twice

class SharedValues {
 public:
  using Tensors = std::vector<tensorflow::Tensor>;

  struct Entry {
    Tensors sources;
    tensorflow::Tensor values;
  };

  static void Put(const std::string& name, Entry entry) {
    tensorflow::mutex_lock lock(All().mutex);
    All().entries[name] = std::move(entry);
  }

  // True, and the values, if they were computed from these. The entry is gone afterwards.
  static bool Take(const std::string& name, const Tensors& sources, tensorflow::Tensor* values) {
    Entry entry;
    {
      tensorflow::mutex_lock lock(All().mutex);
      const auto found = All().entries.find(name);
      if (found == All().entries.end()) return false;
      entry = std::move(found->second);
      All().entries.erase(found);
    }
    for (size_t i = 0; i < sources.size(); ++i)
      if (entry.sources[i].data() != sources[i].data()) return false;
    *values = std::move(entry.values);
    return true;
  }

  static void Forget(const std::string& name) {
    tensorflow::mutex_lock lock(All().mutex);
    All().entries.erase(name);
  }

 private:
  struct Entries {
    tensorflow::mutex mutex;
    std::unordered_map<std::string, Entry> entries;
  };

  static Entries& All() {
    static Entries* const all = new Entries;  // operations may end after main()
    return *all;
  }
};

}  // namespace keras_sparse
