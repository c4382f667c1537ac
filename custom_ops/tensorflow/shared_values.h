// What a forward product read of its kernel, for the input gradient of the same step: the values of
// the active weights. share_values.cc gives such a pair of operations one name.
//
// The tensors of kernel and mask are kept until the input gradient has taken the values. TensorFlow
// changes no memory that two tensors share, so a kernel and a mask at the same addresses are the
// same.
#pragma once

#include <string>
#include <unordered_map>
#include <utility>

#include "tensorflow/core/framework/tensor.h"
#include "tensorflow/core/platform/mutex.h"

namespace keras_sparse {

class SharedValues {
 public:
  struct Entry {
    tensorflow::Tensor kernel, mask, values;
  };

  static void Put(const std::string& name, Entry entry) {
    tensorflow::mutex_lock lock(All().mutex);
    All().entries[name] = std::move(entry);
  }

  // True, and the values, if they are of this kernel and mask. The entry is gone afterwards.
  static bool Take(const std::string& name, const tensorflow::Tensor& kernel,
                   const tensorflow::Tensor& mask, tensorflow::Tensor* values) {
    Entry entry;
    {
      tensorflow::mutex_lock lock(All().mutex);
      const auto found = All().entries.find(name);
      if (found == All().entries.end()) return false;
      entry = std::move(found->second);
      All().entries.erase(found);
    }
    if (entry.kernel.data() != kernel.data() || entry.mask.data() != mask.data()) return false;
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
