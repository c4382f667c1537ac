// The handler that programs of XLA call for a product on a GPU.
#include "custom_ops/tensorflow/xla_gpu_call.h"

#include <algorithm>
#include <string>

#include "custom_ops/tensorflow/gpu_launch.h"
#include "xla/ffi/api/ffi.h"

namespace keras_sparse {
namespace {

namespace ffi = xla::ffi;

// It neither waits nor allocates, so XLA may record it into a CUDA graph.
// Arguments: first, second, mask, as in BlockPointers. Results: result, workspace.
ffi::Error Call(void* stream, ffi::AnyBuffer first, ffi::AnyBuffer second, ffi::AnyBuffer mask,
                ffi::Result<ffi::AnyBuffer> result, ffi::Result<ffi::AnyBuffer> workspace,
                ffi::Span<const int64_t> given) {
  CallNumbers numbers;
  if (given.size() != numbers.size()) return ffi::Error::InvalidArgument("numbers are missing");
  std::copy(given.begin(), given.end(), numbers.begin());
  const BlockPointers pointers = {first.untyped_data(), second.untyped_data(),
                                  static_cast<const bool*>(mask.untyped_data()),
                                  result->untyped_data(), workspace->untyped_data()};
  const std::string problem =
      LaunchOnGpu(ProductOf(numbers), ConvolutionOf(numbers), pointers, stream);
  return problem.empty() ? ffi::Error::Success() : ffi::Error::Internal(problem);
}

XLA_FFI_DEFINE_HANDLER(kCall, Call,
                       ffi::Ffi::Bind()
                           .Ctx<ffi::PlatformStream<void*>>()
                           .Arg<ffi::AnyBuffer>()
                           .Arg<ffi::AnyBuffer>()
                           .Arg<ffi::AnyBuffer>()
                           .Ret<ffi::AnyBuffer>()
                           .Ret<ffi::AnyBuffer>()
                           .Attr<ffi::Span<const int64_t>>("numbers"),
                       {ffi::Traits::kCmdBufferCompatible});
XLA_FFI_REGISTER_HANDLER(XLA_FFI_GetApi(), kXlaGpuCall, "CUDA", kCall);

}  // namespace
}  // namespace keras_sparse
