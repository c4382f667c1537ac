// The compiled kernels get onto a GPU through CUDA's driver, which is looked up when it is needed:
// without one the library loads all the same, and nothing of CUDA's toolkit is needed to build or
// run it.
#include <dlfcn.h>

#include <algorithm>
#include <cstring>
#include <map>
#include <mutex>
#include <utility>

#include "custom_ops/triton/block_variants.h"
#include "custom_ops/triton/blocks.h"

namespace keras_sparse {
namespace {

using Handle = void*;  // of a context, module, function or stream

// The functions of CUDA's driver that are used here, with the numbers that cuda.h gives them.
constexpr int kMajor = 75, kMinor = 76;     // CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_...
constexpr int kMaxDynamicSharedMemory = 8;  // CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES
constexpr int kSharedMemoryWithoutAsking = 48 << 10;
constexpr int kCaptureRelaxed = 2;  // CU_STREAM_CAPTURE_MODE_RELAXED

struct Driver {
  int (*current_context)(Handle*) = nullptr;
  int (*current_device)(int*) = nullptr;
  int (*device_attribute)(int*, int, int) = nullptr;
  int (*load_module)(Handle*, const void*) = nullptr;
  int (*find_function)(Handle*, Handle, const char*) = nullptr;
  int (*set_attribute)(Handle, int, int) = nullptr;
  int (*launch)(Handle, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned,
                Handle, void**, void**) = nullptr;
  int (*error_name)(int, const char**) = nullptr;
  int (*exchange_capture_mode)(int*) = nullptr;

  Driver() {
    Handle library = dlopen("libcuda.so.1", RTLD_NOW | RTLD_LOCAL);
    if (library == nullptr) return;
    const auto find = [&](const char* name, auto* function) {
      *function = reinterpret_cast<std::remove_pointer_t<decltype(function)>>(dlsym(library, name));
      complete = complete && *function != nullptr;
    };
    complete = true;
    find("cuCtxGetCurrent", &current_context);
    find("cuCtxGetDevice", &current_device);
    find("cuDeviceGetAttribute", &device_attribute);
    find("cuModuleLoadData", &load_module);
    find("cuModuleGetFunction", &find_function);
    find("cuFuncSetAttribute", &set_attribute);
    find("cuLaunchKernel", &launch);
    find("cuGetErrorName", &error_name);
    find("cuThreadExchangeStreamCaptureMode", &exchange_capture_mode);
  }

  bool complete = false;
};

const Driver& TheDriver() {
  static const Driver driver;
  return driver;
}

std::string Failed(const char* what, int error) {
  const char* name = nullptr;
  TheDriver().error_name(error, &name);
  return std::string(what) + " failed: " + (name == nullptr ? std::to_string(error) : name);
}

// The machine code for this GPU: a cubin runs on later GPUs of the same generation; else the text,
// on any later one.
const BlockVariant* FindVariant(const char* kernel, ElementType type, int block, int capability) {
  const BlockVariant* best = nullptr;
  for (int i = 0; i < kBlockVariantCount; ++i) {
    const BlockVariant& v = kBlockVariants[i];
    if (v.type != type || v.block != block || std::strcmp(v.kernel, kernel) != 0) continue;
    const bool runs = v.is_text
                          ? v.capability <= capability
                          : v.capability / 10 == capability / 10 && v.capability <= capability;
    if (runs && (best == nullptr || best->is_text)) best = &v;
  }
  return best;
}

// While this lives, the thread may load modules although it records launches into a graph.
class RelaxedCapture {
 public:
  RelaxedCapture() { TheDriver().exchange_capture_mode(&mode_); }
  ~RelaxedCapture() { TheDriver().exchange_capture_mode(&mode_); }

 private:
  int mode_ = kCaptureRelaxed;  // then the mode before it
};

// Functions of the current context, loaded when they are first needed.
class Functions {
 public:
  std::string Get(const Convolution& convolution, const char* kernel, const BlockVariant** variant,
                  Handle* function) {
    Handle context = nullptr;
    int device = 0, major = 0, minor = 0;
    int error = TheDriver().current_context(&context);
    if (error == 0) error = TheDriver().current_device(&device);
    if (error == 0) error = TheDriver().device_attribute(&major, kMajor, device);
    if (error == 0) error = TheDriver().device_attribute(&minor, kMinor, device);
    if (error != 0) return Failed("asking for the GPU", error);
    *variant =
        FindVariant(kernel, convolution.type, convolution.structure.block, 10 * major + minor);
    if (*variant == nullptr) return "there are no kernels for GPUs of compute capability below 8.0";
    const std::lock_guard<std::mutex> lock(mutex_);
    Handle& found = functions_[{context, *variant}];
    if (found == nullptr) {
      const std::string problem = Load(**variant, &found);
      if (!problem.empty()) return problem;
    }
    *function = found;
    return "";
  }

 private:
  static std::string Load(const BlockVariant& variant, Handle* function) {
    const RelaxedCapture relaxed;
    Handle module = nullptr, loaded = nullptr;
    int error = TheDriver().load_module(&module, variant.image);
    if (error == 0) error = TheDriver().find_function(&loaded, module, variant.kernel);
    if (error == 0 && variant.shared_memory > kSharedMemoryWithoutAsking)
      error = TheDriver().set_attribute(loaded, kMaxDynamicSharedMemory, variant.shared_memory);
    if (error != 0) return Failed("loading a kernel", error);
    *function = loaded;
    return "";
  }

  std::mutex mutex_;
  std::map<std::pair<Handle, const BlockVariant*>, Handle> functions_;
};

// The arguments in the form that cuLaunchKernel takes: the address of each.
struct Parameters {
  Parameters(const BlockVariant& variant, const std::vector<int64_t>& arguments)
      : values(std::strlen(variant.parameters), 0), addresses(values.size()) {
    std::copy(arguments.begin(), arguments.end(), values.begin());
    for (size_t i = 0; i < values.size(); ++i)
      addresses[i] = &values[i];  // x86 and ARM: an int32 is its lower half
  }

  std::vector<int64_t> values;
  std::vector<void*> addresses;
};

std::string Run(const Convolution& convolution, const BlockLaunch& launch, void* stream) {
  static Functions* functions = new Functions;  // never destroyed: the driver may be gone before it
  const BlockVariant* variant = nullptr;
  Handle function = nullptr;
  const std::string problem = functions->Get(convolution, launch.kernel, &variant, &function);
  if (!problem.empty()) return problem;
  Parameters parameters(*variant, launch.arguments);
  const auto grid = [&](int axis) { return static_cast<unsigned>(launch.grid[axis]); };
  const int error =
      TheDriver().launch(function, grid(0), grid(1), grid(2), 32 * variant->warps, 1, 1,
                         variant->shared_memory, stream, parameters.addresses.data(), nullptr);
  return error == 0 ? "" : Failed(launch.kernel, error);
}

}  // namespace

std::string RunInBlocks(Product product, const Convolution& convolution,
                        const BlockPointers& pointers, void* stream) {
  if (!TheDriver().complete) return "there is no CUDA driver: libcuda.so.1 cannot be loaded";
  for (const BlockLaunch& launch : PlanBlockLaunches(product, convolution, pointers)) {
    const std::string problem = Run(convolution, launch, stream);
    if (!problem.empty()) return problem;
  }
  return "";
}

}  // namespace keras_sparse
