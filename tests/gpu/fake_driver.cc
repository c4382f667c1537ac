// A CUDA driver that has no GPU and prints what it is asked: for test_block_driver.py.
// FAKE_CAPABILITY is that of its GPU, FAKE_FAILS the name of a function that fails.
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <utility>
#include <vector>

namespace {

struct Function {
  std::string name, image;
};

int Fails(const char* name) {
  const char* fails = std::getenv("FAKE_FAILS");
  return fails != nullptr && std::strcmp(fails, name) == 0 ? 719 : 0;
}

int ParametersOf(const std::string& kernel) {
  const char* found = std::strstr(std::getenv("FAKE_PARAMETERS"), (kernel + "=").c_str());
  return found == nullptr ? 0 : std::atoi(found + kernel.size() + 1);
}

// "text", or the architecture in the header of an ELF file, as cuobjdump prints it.
std::string KindOf(const void* image) {
  if (std::memcmp(image, "\177ELF", 4) != 0) return "text";
  uint32_t flags = 0;
  std::memcpy(&flags, static_cast<const char*>(image) + 48, sizeof flags);
  return "sm_" + std::to_string((flags & 0xff) >= 50 ? flags & 0xff : (flags >> 8) & 0xff);
}

}  // namespace

extern "C" {

int cuCtxGetCurrent(void** context) {
  *context = reinterpret_cast<void*>(1);
  return Fails("cuCtxGetCurrent");
}

int cuCtxGetDevice(int* device) { return *device = 0; }

int cuDeviceGetAttribute(int* value, int attribute, int) {
  const int capability = std::atoi(std::getenv("FAKE_CAPABILITY"));
  *value = attribute == 75 ? capability / 10 : capability % 10;
  return 0;
}

int cuModuleLoadData(void** module, const void* image) {
  *module = new Function{"", KindOf(image)};
  std::printf("load %s\n", KindOf(image).c_str());
  return Fails("cuModuleLoadData");
}

int cuModuleGetFunction(void** function, void* module, const char* name) {
  *function = new Function{name, static_cast<Function*>(module)->image};
  return 0;
}

int cuFuncSetAttribute(void* function, int attribute, int value) {
  std::printf("attribute %s %d %d\n", static_cast<Function*>(function)->name.c_str(), attribute,
              value);
  return 0;
}

int cuThreadExchangeStreamCaptureMode(int* mode) {
  static int now = 0;
  std::swap(now, *mode);
  std::printf("capture %d\n", now);
  return 0;
}

int cuGetErrorName(int, const char** name) {
  *name = "CUDA_ERROR_LAUNCH_FAILED";
  return 0;
}

// As many parameters as FAKE_PARAMETERS says, "flag_blocks=13 ...": pointers and int32 values in
// words of 8 bytes.
int cuLaunchKernel(void* function, unsigned x, unsigned y, unsigned z, unsigned threads, unsigned,
                   unsigned, unsigned shared, void* stream, void** parameters, void**) {
  const Function* f = static_cast<Function*>(function);
  std::printf("launch %s %s %u %u %u %u %u %ld", f->name.c_str(), f->image.c_str(), x, y, z,
              threads, shared, static_cast<long>(reinterpret_cast<intptr_t>(stream)));
  for (int i = 0; i < ParametersOf(f->name); ++i)
    std::printf(" %ld", static_cast<long>(*static_cast<int64_t*>(parameters[i])));
  std::printf("\n");
  std::fflush(stdout);
  return Fails("cuLaunchKernel");
}
}
