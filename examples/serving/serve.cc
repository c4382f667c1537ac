// Predicts with a SavedModel of `ks.export(model, path, custom_ops=True)` in C++.
//
//   serve FOLDER < inputs > outputs
//
// Inputs and outputs are float32 values, as numpy's `tofile` writes them: any number of examples.
// The model has one input and one output. `build.py` compiles this file against the TensorFlow that
// pip has installed. It needs no Python and no Keras where it runs: TensorFlow's two libraries, and
// the one that lies in the folder.
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <memory>
#include <string>
#include <vector>

#include "tensorflow/c/c_api.h"
#include "tensorflow/core/protobuf/meta_graph.pb.h"

namespace {

[[noreturn]] void Fail(const std::string& sentence) {
  std::fprintf(stderr, "%s\n", sentence.c_str());
  std::exit(1);
}

struct Status {
  TF_Status* const status = TF_NewStatus();
  ~Status() { TF_DeleteStatus(status); }
  void Check() const {
    if (TF_GetCode(status) != TF_OK) Fail(TF_Message(status));
  }
};

std::string Read(std::istream& from) {
  return {std::istreambuf_iterator<char>(from), std::istreambuf_iterator<char>()};
}

// The ops are loaded before the graph that names them. They fit one version of TensorFlow.
void LoadOps(const std::string& folder) {
  std::ifstream file(folder + "/assets.extra/keras_sparse.json");
  const std::string built = Read(file), version = TF_Version();
  if (built.find("\"tensorflow\": \"" + version + "\"") == std::string::npos)
    Fail("The ops in " + folder + " were built for another TensorFlow than this, " + version +
         ": install the version in assets.extra/keras_sparse.json, or export the model again.");
  const Status status;
  TF_LoadLibrary((folder + "/assets/libkeras_sparse_ops.so").c_str(), status.status);
  status.Check();
}

struct Model {
  TF_Graph* graph = TF_NewGraph();
  TF_Session* session = nullptr;
  TF_Output input = {}, output = {};
  std::vector<int64_t> shape;  // of the inputs; the first axis is the batch
};

// The operation and its output, of "name:0".
TF_Output OutputOf(TF_Graph* graph, const std::string& tensor) {
  const size_t colon = tensor.rfind(':');
  return {TF_GraphOperationByName(graph, tensor.substr(0, colon).c_str()),
          std::atoi(tensor.c_str() + colon + 1)};
}

Model Load(const std::string& folder) {
  Model model;
  const Status status;
  TF_SessionOptions* options = TF_NewSessionOptions();
  TF_Buffer* buffer = TF_NewBuffer();
  const char* tags[] = {"serve"};
  model.session = TF_LoadSessionFromSavedModel(options, nullptr, folder.c_str(), tags, 1,
                                               model.graph, buffer, status.status);
  status.Check();
  tensorflow::MetaGraphDef meta;
  if (!meta.ParseFromArray(buffer->data, static_cast<int>(buffer->length)))
    Fail("The graph in " + folder + " cannot be read.");
  const auto& signature = meta.signature_def().at("serving_default");
  if (signature.inputs().size() != 1 || signature.outputs().size() != 1)
    Fail("The model must have one input and one output.");
  const auto& input = signature.inputs().begin()->second;
  model.input = OutputOf(model.graph, input.name());
  model.output = OutputOf(model.graph, signature.outputs().begin()->second.name());
  for (const auto& size : input.tensor_shape().dim()) model.shape.push_back(size.size());
  TF_DeleteBuffer(buffer);
  TF_DeleteSessionOptions(options);
  return model;
}

TF_Tensor* TensorOf(const std::string& bytes, std::vector<int64_t> shape) {
  int64_t of_one = sizeof(float);
  for (size_t i = 1; i < shape.size(); ++i) of_one *= shape[i];
  shape[0] = static_cast<int64_t>(bytes.size()) / of_one;
  if (shape[0] * of_one != static_cast<int64_t>(bytes.size()))
    Fail("The inputs must be whole examples of " + std::to_string(of_one) + " bytes. Received: " +
         std::to_string(bytes.size()) + " bytes");
  TF_Tensor* tensor =
      TF_AllocateTensor(TF_FLOAT, shape.data(), static_cast<int>(shape.size()), bytes.size());
  bytes.copy(static_cast<char*>(TF_TensorData(tensor)), bytes.size());
  return tensor;
}

}  // namespace

int main(int count, char** arguments) {
  if (count != 2) Fail("Usage: serve FOLDER < inputs > outputs");
  std::ios::sync_with_stdio(false);
  LoadOps(arguments[1]);
  const Model model = Load(arguments[1]);
  std::ifstream standard_input("/dev/stdin", std::ios::binary);
  TF_Tensor* inputs = TensorOf(Read(standard_input), model.shape);
  TF_Tensor* outputs = nullptr;
  const Status status;
  TF_SessionRun(model.session, nullptr, &model.input, &inputs, 1, &model.output, &outputs, 1,
                nullptr, 0, nullptr, status.status);
  status.Check();
  std::fwrite(TF_TensorData(outputs), 1, TF_TensorByteSize(outputs), stdout);
  TF_DeleteTensor(outputs);
  TF_DeleteTensor(inputs);
  TF_CloseSession(model.session, status.status);
  TF_DeleteSession(model.session, status.status);
  TF_DeleteGraph(model.graph);
  return 0;
}
