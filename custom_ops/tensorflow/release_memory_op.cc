// Gives memory that this process has freed back to the system.
//
// With oneDNN, TensorFlow keeps whatever tensors of 256 KiB and more have ever taken at the same
// time: its allocator never shrinks. This op takes blocks of what is free there, lets the system
// have their pages, and returns the blocks. Their contents are lost, and nobody has read them. An
// operation that gets such a block later finds zeros, which the system makes page by page. That
// takes longer than it gains where the next step needs most of the memory again: with more than
// `at_most` bytes free, nothing happens.
#include <sys/mman.h>
#include <unistd.h>

#include <cstdint>
#include <vector>

#include "custom_ops/tensorflow/registration.h"
#include "tensorflow/core/framework/op.h"
#include "tensorflow/core/framework/op_kernel.h"
#include "tensorflow/core/framework/shape_inference.h"

#if defined(__GLIBC__)
#include <malloc.h>
#endif

namespace keras_sparse {
namespace {

REGISTER_OP("KerasSparse>ReleaseMemory")
    .Attr("at_most: int")
    .SetIsStateful()
    .SetShapeFn([](tensorflow::shape_inference::InferenceContext*) { return absl::OkStatus(); });

constexpr int64_t kBlock = 1 << 20;  // bytes: TensorFlow keeps tensors of 256 KiB and more

void ReleasePages(void* block) {
  static const uintptr_t page = sysconf(_SC_PAGESIZE);
  const uintptr_t begin = (reinterpret_cast<uintptr_t>(block) + page - 1) / page * page;
  const uintptr_t end = (reinterpret_cast<uintptr_t>(block) + kBlock) / page * page;
  madvise(reinterpret_cast<void*>(begin), end - begin, MADV_DONTNEED);
}

// What the allocator once had in use beside what is in use now; 0: it does not count.
int64_t FreeBytes(tensorflow::Allocator* allocator) {
  const auto stats = allocator->GetStats();
  return stats ? stats->peak_bytes_in_use - stats->bytes_in_use : 0;
}

// No more than this many bytes are free: beyond them the allocator would grow.
void ReleaseFree(tensorflow::Allocator* allocator, int64_t bytes) {
  std::vector<void*> blocks;
  for (int64_t left = bytes; left >= kBlock; left -= kBlock) {
    void* const block = allocator->AllocateRaw(tensorflow::Allocator::kAllocatorAlignment, kBlock);
    if (block == nullptr) break;
    blocks.push_back(block);
  }
  for (void* block : blocks) ReleasePages(block);
  for (void* block : blocks) allocator->DeallocateRaw(block);
}

class ReleaseMemory : public tensorflow::OpKernel {
 public:
  explicit ReleaseMemory(tensorflow::OpKernelConstruction* context) : OpKernel(context) {
    OP_REQUIRES_OK(context, context->GetAttr("at_most", &at_most_));
  }

  void Compute(tensorflow::OpKernelContext* context) override {
    tensorflow::Allocator* const allocator = context->device()->GetAllocator({});
    const int64_t bytes = FreeBytes(allocator);
    if (bytes > at_most_) return;
    ReleaseFree(allocator, bytes);
#if defined(__GLIBC__)
    malloc_trim(0);
#endif
  }

 private:
  int64_t at_most_;
};

KS_REGISTER_KERNEL(Name("KerasSparse>ReleaseMemory").Device(tensorflow::DEVICE_CPU), ReleaseMemory);

}  // namespace
}  // namespace keras_sparse
