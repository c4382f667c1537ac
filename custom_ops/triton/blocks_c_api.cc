// The products by blocks for Python, through ctypes: for tests and benchmarks without TensorFlow.
//
// `product`: 0, 1, 2 and `type`: 0, 1, 2 in the order of their enums.
#include <algorithm>

#include "custom_ops/contract/c_api.h"
#include "custom_ops/triton/blocks.h"

namespace keras_sparse {
namespace {

Convolution ConvolutionOf(const int64_t* sizes, int type, int block) {
  return {SizesOf(sizes), static_cast<ElementType>(type), MaskStructure::Blocks(block)};
}

}  // namespace
}  // namespace keras_sparse

using keras_sparse::ConvolutionOf;
using keras_sparse::Product;

extern "C" const char* keras_sparse_why_not_in_blocks(int, const int64_t* sizes, int type,
                                                      int block) {
  return WhyNotInBlocks(ConvolutionOf(sizes, type, block));
}

extern "C" int64_t keras_sparse_block_workspace(int product, const int64_t* sizes, int type,
                                                int block) {
  return BlockWorkspace(static_cast<Product>(product), ConvolutionOf(sizes, type, block));
}

// nullptr, or what went wrong: until the next call on this thread.
extern "C" const char* keras_sparse_run_in_blocks(int product, const int64_t* sizes, int type,
                                                  int block, const void* first, const void* second,
                                                  const bool* mask, void* result, void* workspace,
                                                  void* stream) {
  static thread_local std::string problem;
  problem = RunInBlocks(static_cast<Product>(product), ConvolutionOf(sizes, type, block),
                        {first, second, mask, result, workspace}, stream);
  return problem.empty() ? nullptr : problem.c_str();
}

// The launches: for each the kernel's name in `names`, and 32 numbers in `numbers`: the grid, how
// many arguments there are, and these. Returns how many launches there are; never more than 4.
extern "C" int keras_sparse_plan_blocks(int product, const int64_t* sizes, int type, int block,
                                        const void* first, const void* second, const bool* mask,
                                        void* result, void* workspace, const char** names,
                                        int64_t* numbers) {
  const auto launches =
      PlanBlockLaunches(static_cast<Product>(product), ConvolutionOf(sizes, type, block),
                        {first, second, mask, result, workspace});
  for (const auto& launch : launches) {
    *names++ = launch.kernel;
    std::copy(launch.grid, launch.grid + 3, numbers);
    numbers[3] = static_cast<int64_t>(launch.arguments.size());
    std::copy(launch.arguments.begin(), launch.arguments.end(), numbers + 4);
    numbers += 32;
  }
  return static_cast<int>(launches.size());
}
