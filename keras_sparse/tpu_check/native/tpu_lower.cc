// What TensorFlow gives a TPU to run: a function with variables, as the HLO that tf2xla makes of it
// for XLA_TPU_JIT.
//
// Shapes are all it takes: no device, no values. This library gives the process the XLA_TPU_JIT
// backend that TensorFlow has on TPU hosts. It also brings the lowerings of two collectives, which
// only the builds for TPUs link. It has to be loaded before TensorFlow runs its first function:
// kernels of the backends there are get registered then, once.
//
// keras_sparse/tpu_check/library.py compiles it, in half a minute, and calls it through ctypes.
#include <sstream>
#include <string>
#include <vector>

#include "tensorflow/compiler/tf2xla/tf2xla_util.h"
#include "tensorflow/compiler/tf2xla/xla_compiler.h"
#include "tensorflow/compiler/tf2xla/xla_op_kernel.h"
#include "tensorflow/compiler/tf2xla/xla_op_registry.h"
#include "tensorflow/core/framework/function.h"
#include "tensorflow/core/framework/graph.pb.h"
#include "tensorflow/core/framework/kernel_def.pb.h"
#include "tensorflow/core/tpu/tpu_defs.h"
#include "xla/hlo/builder/xla_builder.h"
#include "xla/service/hlo.pb.h"

namespace keras_sparse {
namespace {

using tensorflow::XlaCompiler;
using tensorflow::XlaOpKernel;
using tensorflow::XlaOpKernelContext;
using tensorflow::XlaOpRegistry;

constexpr char kTpu[] = "XLA_TPU_JIT";

// TPUs take strings only where nothing computes with them.
bool TakesTpu(tensorflow::KernelDef* kernel) {
  if (kernel->op() == "Const")
    tensorflow::AddDtypeToKernelDefConstraint("dtype", tensorflow::DT_STRING, kernel);
  if (kernel->op() == "Assert")
    tensorflow::AddDtypeToKernelDefConstraint("T", tensorflow::DT_STRING, kernel);
  return true;
}

tensorflow::XlaBackendRegistrar backend(kTpu, tensorflow::kTpuAllTypes, TakesTpu);

// group_assignment, int32 (groups, replicas of a group), is the second input of both collectives.
absl::StatusOr<std::vector<xla::ReplicaGroup>> Groups(XlaOpKernelContext* context) {
  xla::Literal assignment;
  TF_RETURN_IF_ERROR(context->ConstantInput(1, &assignment));
  std::vector<xla::ReplicaGroup> groups(assignment.shape().dimensions(0));
  for (int64_t i = 0; i < assignment.shape().dimensions(0); ++i) {
    for (int64_t j = 0; j < assignment.shape().dimensions(1); ++j) {
      groups[i].add_replica_ids(assignment.Get<int32_t>({i, j}));
    }
  }
  return groups;
}

class CrossReplicaSum : public XlaOpKernel {
 public:
  using XlaOpKernel::XlaOpKernel;

  void Compile(XlaOpKernelContext* context) override {
    const auto groups = Groups(context);
    OP_REQUIRES_OK(context, groups.status());
    context->SetOutput(0, xla::CrossReplicaSum(context->Input(0), *groups));
  }
};

class AllToAll : public XlaOpKernel {
 public:
  explicit AllToAll(tensorflow::OpKernelConstruction* context) : XlaOpKernel(context) {
    OP_REQUIRES_OK(context, context->GetAttr("concat_dimension", &concat_));
    OP_REQUIRES_OK(context, context->GetAttr("split_dimension", &split_));
    OP_REQUIRES_OK(context, context->GetAttr("split_count", &count_));
  }

  void Compile(XlaOpKernelContext* context) override {
    const auto groups = Groups(context);
    OP_REQUIRES_OK(context, groups.status());
    context->SetOutput(0, xla::AllToAll(context->Input(0), split_, concat_, count_, *groups));
  }

 private:
  int64_t concat_, split_, count_;
};

REGISTER_XLA_OP(Name("CrossReplicaSum").Device(kTpu).CompileTimeConstantInput("group_assignment"),
                CrossReplicaSum);
REGISTER_XLA_OP(Name("AllToAll").Device(kTpu).CompileTimeConstantInput("group_assignment"),
                AllToAll);

// One argument a line: "variable <dtype> <sizes...>" or "tensor <dtype> <sizes...>"; dtypes are
// numbers of DataType.
std::vector<XlaCompiler::Argument> Arguments(const std::string& lines) {
  std::vector<XlaCompiler::Argument> arguments;
  std::istringstream stream(lines);
  for (std::string line; std::getline(stream, line);) {
    std::istringstream words(line);
    std::string kind;
    int dtype;
    words >> kind >> dtype;
    tensorflow::TensorShape shape;
    for (int64_t size; words >> size;) shape.AddDim(size);
    XlaCompiler::Argument argument;
    argument.type = static_cast<tensorflow::DataType>(dtype);
    argument.shape = shape;
    argument.kind = XlaCompiler::Argument::kParameter;
    if (kind == "variable") {
      argument.kind = XlaCompiler::Argument::kResource;
      argument.resource_kind = tensorflow::XlaResource::kVariable;
      argument.initialized = true;
    }
    arguments.push_back(argument);
  }
  return arguments;
}

// tf2xla marks what is written to a variable by a copy. StableHLO, which libtpu is given, has none:
// a reshape does the same.
void ReplaceCopies(xla::HloModuleProto* module) {
  for (auto& computation : *module->mutable_computations()) {
    for (auto& instruction : *computation.mutable_instructions()) {
      if (instruction.opcode() == "copy") instruction.set_opcode("reshape");
    }
  }
}

// "parameters i j ..." the arguments that are read, "outputs n" tensors returned, "updates i j ..."
// arguments written after them.
std::string Signature(const XlaCompiler::CompilationResult& result) {
  std::ostringstream text;
  text << "parameters";
  for (int argument : result.input_mapping) text << ' ' << argument;
  text << "\noutputs " << result.outputs.size() << "\nupdates";
  for (const auto& update : result.resource_updates) text << ' ' << update.input_index;
  return text.str();
}

absl::Status Lower(const std::string& serialized, const std::string& function,
                   const std::string& arguments, std::string* hlo, std::string* signature) {
  tensorflow::GraphDef graph;
  if (!graph.ParseFromString(serialized)) return absl::InvalidArgumentError("This is no GraphDef.");
  tensorflow::FunctionLibraryDefinition library(tensorflow::OpRegistry::Global(), graph.library());
  XlaOpRegistry::RegisterCompilationKernels();
  XlaCompiler::Options options;
  options.device_type = tensorflow::DeviceType(kTpu);
  options.flib_def = &library;
  options.graph_def_version = graph.versions().producer();
  XlaCompiler compiler(options);
  XlaCompiler::CompileOptions how;
  how.alias_resource_update = true;  // a variable is updated in its place
  how.always_return_tuple = true;
  tensorflow::NameAttrList name;
  name.set_name(function);
  XlaCompiler::CompilationResult result;
  TF_RETURN_IF_ERROR(compiler.CompileFunction(how, name, Arguments(arguments), &result));
  xla::HloModuleProto module = result.computation->proto();
  ReplaceCopies(&module);
  *hlo = module.SerializeAsString();
  *signature = Signature(result);
  return absl::OkStatus();
}

std::string answer, message;  // of the last call

}  // namespace
}  // namespace keras_sparse

extern "C" {

// 0: keras_sparse_tpu_answer is an HloModuleProto, and the message its signature; else the message
// says what is wrong.
int keras_sparse_tpu_lower(const char* graph, size_t size, const char* function,
                           const char* arguments) {
  const absl::Status status = keras_sparse::Lower(std::string(graph, size), function, arguments,
                                                  &keras_sparse::answer, &keras_sparse::message);
  if (!status.ok()) keras_sparse::message = status.ToString();
  return status.ok() ? 0 : 1;
}

// Valid until the next call; not terminated by a zero.
const char* keras_sparse_tpu_answer(size_t* size) {
  *size = keras_sparse::answer.size();
  return keras_sparse::answer.data();
}

const char* keras_sparse_tpu_message() { return keras_sparse::message.c_str(); }

// Names of all ops that can be lowered for TPUs, one a line. Few or none, where the library was
// loaded too late.
const char* keras_sparse_tpu_ops() {
  keras_sparse::XlaOpRegistry::RegisterCompilationKernels();
  keras_sparse::message.clear();
  for (const auto* kernel : keras_sparse::XlaOpRegistry::DeviceKernels(keras_sparse::kTpu, true)) {
    keras_sparse::message += kernel->op() + "\n";
  }
  return keras_sparse::message.c_str();
}

}  // extern "C"
