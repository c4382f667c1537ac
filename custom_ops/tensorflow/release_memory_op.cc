// Gives memory that this process has freed back to the system.
//
// With oneDNN, TensorFlow keeps whatever tensors of 256 KiB and more have ever taken at the same
// time: its allocator never shrinks. This op takes blocks of what is free there, lets the system
// have their pages, and returns the blocks. Their contents are lost, and nobody has read them. An
// operation that gets such a block later finds zeros, which the system makes page by page.
#include <sys/mman.h>
#include <unistd.h>

#include <cstdint>
#include <vector>

#include "tensorflow/core/framework/op.h"
#include "tensorflow/core/framework/op_kernel.h"
#include "tensorflow/core/framework/shape_inference.h"

#if defined(__GLIBC__)
#include <malloc.h>
#endif

namespace keras_sparse {
namespace {

REGISTER_OP("KerasSparse>ReleaseMemory")
    .SetIsStateful()
    .SetShapeFn([](tensorflow::shape_inference::InferenceContext*) { return absl::OkStatus(); });

constexpr int64_t kBlock = 1 << 20;  // bytes: TensorFlow keeps tensors of 256 KiB and more

void ReleasePages(void* block) {
  static const uintptr_t page = sysconf(_SC_PAGESIZE);
  const uintptr_t begin = (reinterpret_cast<uintptr_t>(block) + page - 1) / page * page;
  const uintptr_t end = (reinterpret_cast<uintptr_t>(block) + kBlock) / page * page;
  madvise(reinterpret_cast<void*>(begin), end - begin, MADV_DONTNEED);
}

// No more than the allocator once had in use beside what is in use now: beyond that it would grow.
void ReleaseFree(tensorflow::Allocator* allocator) {
  const auto stats = allocator->GetStats();
  if (!stats) return;
  std::vector<void*> blocks;
  for (int64_t left = stats->peak_bytes_in_use - stats->bytes_in_use; left >= kBlock;
       left -= kBlock) {
    void* const block = allocator->AllocateRaw(tensorflow::Allocator::kAllocatorAlignment, kBlock);
    if (block == nullptr) break;
    blocks.push_back(block);
  }
  for (void* block : blocks) ReleasePages(block);
  for (void* block : blocks) allocator->DeallocateRaw(block);
}

class ReleaseMemory : public tensorflow::OpKernel {
 public:
  using OpKernel::OpKernel;

  void Compute(tensorflow::OpKernelContext* context) override {
    ReleaseFree(context->device()->GetAllocator({}));
#if defined(__GLIBC__)
    malloc_trim(0);
#endif
  }
};

REGISTER_KERNEL_BUILDER(Name("KerasSparse>ReleaseMemory").Device(tensorflow::DEVICE_CPU),
                        ReleaseMemory);

}  // namespace
}  // namespace keras_sparse
