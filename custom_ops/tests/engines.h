// Every engine that runs on this machine, behind one function.
#pragma once

#include <cstdlib>
#include <cstring>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "custom_ops/contract/product.h"
#include "custom_ops/cpu/plan.h"
#include "custom_ops/tests/helpers.h"

// The CUDA kernels, compiled for the CPU: launch.cuh sees that this is not nvcc.
#include "custom_ops/cuda/cores.cu"
#include "custom_ops/cuda/cores_c_api.cu"
#include "custom_ops/cuda/kernel_gradient.cu"
#include "custom_ops/cuda/pair_gradient.cu"
#include "custom_ops/cuda/pair_product.cu"
#include "custom_ops/cuda/product.cu"
#include "custom_ops/cuda/structure.cu"
#include "custom_ops/cuda/tiling.cu"

namespace keras_sparse::tests {

// What is computed.
struct Call {
  Product product;
  Convolution convolution;
  const bool* mask;
  const float *first, *second;
  int threads;
};

constexpr int kFirstGarbage = 0xff;  // of the first of two runs

struct Engine {
  std::string name;
  bool is_slow;  // it takes a part of the large grids
  std::function<const char*(Product, const Convolution&)> why_not;
  // The result of a call, into poisoned memory; `garbage`: what fills the workspace.
  std::function<std::vector<float>(const Call&, int garbage)> run;
};

// Behind the name of an engine that computes in this type.
inline const char* NameOf(ElementType type) {
  return type == ElementType::kFloat32    ? ""
         : type == ElementType::kBFloat16 ? ", bfloat16"
                                          : ", float16";
}

inline std::vector<float> Poisoned(const Call& call) {
  return std::vector<float>(ResultSize(call.product, call.convolution.sizes), NAN);
}

// Of the operands.
struct Sizes {
  int64_t first, second;
};

inline Sizes SizesOf(const Call& call) {
  const ConvSizes& s = call.convolution.sizes;
  return {call.product == Product::kInputGradient ? s.outputs() : s.inputs(),
          call.product == Product::kKernelGradient ? s.outputs() : s.weights()};
}

// Floats that the type rounds to the values of the second operand.
inline std::vector<float> KernelInFloats(const Call& call) {
  std::vector<float> kernel(call.second, call.second + SizesOf(call).second);
  if (call.convolution.type != ElementType::kFloat32)
    for (float& value : kernel) value += value * 0x1p-13f;
  return kernel;
}

// Does a forward product give the values of its active weights in the kernel's order, and does a
// product by these values have the result of one by the kernel?
inline bool SharesValues(const ConvPlan& plan, const Call& call, const std::vector<char>& first,
                         const std::vector<float>& kernel, const std::vector<char>& result) {
  std::vector<float> active, shared(plan.SharedValues(), NAN);
  for (size_t i = 0; i < kernel.size(); ++i)
    if (call.mask[i]) active.push_back(kernel[i]);
  std::vector<char> again(result.size());
  plan.RunShared(first.data(), active.data(), again.data(), {}, Threads(call.threads));
  if (again != result || call.product == Product::kInputGradient) return again == result;
  plan.RunAndShare(first.data(), kernel.data(), again.data(), shared.data(), {},
                   Threads(call.threads));
  return again == result && shared == active;
}

// A list of the active weights' gradients, expanded by the mask.
inline std::vector<char> Expanded(const Call& call, const std::vector<char>& list) {
  const int64_t weights = call.convolution.sizes.weights(),
                bytes = ElementBytes(call.convolution.type);
  std::vector<char> result(weights * bytes);
  auto at = list.begin();
  for (int64_t i = 0; i < weights && at < list.end(); ++i)
    if (call.mask[i]) std::copy_n(at, bytes, result.begin() + i * bytes), at += bytes;
  return result;
}

// A kernel gradient as a list, expanded by the mask.
inline std::vector<char> RunToList(const ConvPlan& plan, const Call& call, const char* first,
                                   const char* second) {
  std::vector<char> list(plan.ActiveWeights() * ElementBytes(call.convolution.type), '\xff');
  plan.RunToList(first, second, list.data(), Threads(call.threads));
  return Expanded(call, list);
}

// Operands and result are of the convolution's type; the values are those of `call`. The second of
// two runs reads a kernel in floats, shares its values, if the plan does, and lists gradients.
inline Engine CpuEngine(const Kernels& kernels) {
  const auto run = [&kernels](const Call& call, int garbage) {
    const ElementType type = call.convolution.type;
    const Sizes sizes = SizesOf(call);
    const std::vector<float> poison = Poisoned(call);
    std::vector<char> result = ToElements(type, poison.data(), poison.size());
    const auto first = ToElements(type, call.first, sizes.first),
               second = ToElements(type, call.second, sizes.second);
    const bool is_second = garbage != kFirstGarbage;
    const bool in_floats = is_second && call.product != Product::kKernelGradient;
    Convolution convolution = call.convolution;
    convolution.kernel_in_floats = in_floats;
    const auto plan = MakeCpuPlan(call.product, convolution, call.mask, call.threads, kernels);
    if (is_second && !in_floats)
      return ToFloats(type, RunToList(*plan, call, first.data(), second.data()));
    if (!in_floats) {
      plan->Run(first.data(), second.data(), result.data(), Threads(call.threads));
      return ToFloats(type, result);
    }
    const std::vector<float> kernel = KernelInFloats(call);
    plan->Run(first.data(), kernel.data(), result.data(), Threads(call.threads));
    if (plan->SharedValues() > 0 && !SharesValues(*plan, call, first, kernel, result))
      return poison;
    return ToFloats(type, result);
  };
  return {kernels.name, false, [](Product, const Convolution& c) { return WhyNotOnCpu(c); }, run};
}

inline std::vector<float> RunCudaOnCpu(const Call& call, int garbage) {
  std::vector<float> result = Poisoned(call);
  const int64_t bytes = CudaCoresWorkspace(call.product, call.convolution);
  void* workspace = std::aligned_alloc(256, bytes);
  std::memset(workspace, garbage, bytes);
  if (RunOnCudaCores(call.product, call.convolution, call.mask, call.first, call.second,
                     result.data(), workspace, nullptr) != 0)
    result.assign(result.size(), NAN);
  std::free(workspace);
  return result;
}

// With the kernels for masks of `structure`, whatever the mask is made of.
inline Engine CudaEngine(std::string name, MaskStructure structure) {
  const auto with_structure = [structure](Convolution c) {
    c.structure = structure;
    return c;
  };
  return {std::move(name), true,
          [=](Product product, const Convolution& c) {
            return WhyNotOnCudaCores(product, with_structure(c));
          },
          [=](Call call, int garbage) {
            call.convolution = with_structure(call.convolution);
            return RunCudaOnCpu(call, garbage);
          }};
}

inline std::vector<Engine> AllEngines() {
  std::vector<Engine> engines;
  for (const Kernels* kernels : AvailableKernels()) engines.push_back(CpuEngine(*kernels));
  engines.push_back(CudaEngine("CUDA, weights", MaskStructure::Weights()));
  engines.push_back(CudaEngine("CUDA, channel pairs", MaskStructure::ChannelPairs()));
  return engines;
}

// --- the lists of the CUDA engine

// Where the first pixel of an axis' grid that has this tap sees its source pixel: by definition,
// not by slots.
inline int SeenByTap(const Axis& axis, int lattice, int tap) {
  return axis.transposed ? (lattice + axis.pad - tap) / axis.stride : tap - axis.pad;
}

// Is this source pixel, of this channel, where an entry says?
inline bool Sees(const CudaTiling& tiling, int offset, int channel, int y, int x) {
  const int slot = offset / int(sizeof(float)) - channel * tiling.channel_pitch;
  for (int i = 0; i < tiling.y.lattices; ++i)
    for (int j = 0; j < tiling.x.lattices; ++j) {
      if (tiling.y.Residue(i) != y % tiling.y.tap_step() ||
          tiling.x.Residue(j) != x % tiling.x.tap_step())
        continue;
      if (tiling.y.Source(i, 0, slot / tiling.row_pitch) != SeenByTap(tiling.y, i, y)) return false;
      if (tiling.x.Source(j, 0, slot % tiling.row_pitch) != SeenByTap(tiling.x, j, x)) return false;
    }
  return true;
}

// Do the lists hold every active weight once, in the order of the kernel's taps and channels?
inline bool CudaListsAreRight(Product product, const Convolution& convolution, const Mask& mask) {
  const ConvSizes& s = convolution.sizes;
  CudaTiling tiling;
  if (!MakeCudaTiling(product, {s}, &tiling)) return false;
  void* workspace = std::aligned_alloc(256, WorkspaceBytes(product, tiling));
  const Lists lists = ListsIn(workspace, tiling);
  bool right = LaunchBuildLists(tiling, mask.get(), nullptr, lists, nullptr) == 0;
  std::vector<int> found(tiling.lists());
  for (int weight = 0; weight < s.weights(); ++weight) {
    if (!mask[weight]) continue;
    const int tap = weight / tiling.tap_stride, y = tap / tiling.x.taps, x = tap % tiling.x.taps;
    const int in = weight / int(s.out_channels) % int(s.in_channels),
              out = weight % int(s.out_channels);
    const int source = tiling.y.transposed ? out : in,
              residue_y = y % tiling.y.tap_step() * tiling.x.residues;
    const int64_t list = tiling.List(tiling.y.transposed ? residue_y + x % tiling.x.tap_step() : 0,
                                     source / tiling.chunk, tiling.y.transposed ? in : out);
    const Entry& entry = lists.entries[list * tiling.room() + found[list]++];
    right =
        right && entry.payload == weight && Sees(tiling, entry.offset, source % tiling.chunk, y, x);
  }
  for (int64_t list = 0; list < tiling.lists(); ++list)
    right = right && lists.counts[list] == found[list];
  std::free(workspace);
  return right;
}

}  // namespace keras_sparse::tests
