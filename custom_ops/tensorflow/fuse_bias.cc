// Joins a product with the bias and the ReLU behind it, when TensorFlow prepares a graph:
//
//   Relu(BiasAdd(Conv2D(x), bias))  -> Conv2DWithBias(x, bias, activation = Relu)
//   BiasAdd(Conv2D(x), bias)        -> Conv2DWithBias(x, bias)
//
// The same for MatMul and Relu6. Each saves a pass over the outputs. It does so in float32 where
// nobody trains the kernel, and where nothing else reads a tensor between these operations. Graphs
// that are saved never hold the joined operations.
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "custom_ops/tensorflow/graph_order.h"
#include "tensorflow/core/common_runtime/optimization_registry.h"
#include "tensorflow/core/graph/node_builder.h"

namespace keras_sparse {
namespace {

using tensorflow::Edge;
using tensorflow::Graph;
using tensorflow::Node;

constexpr int kProductInputs = 4, kBias = 1;

// The only node that reads an output of this one, or waits for it; null if there are others.
Node* OnlyReader(const Node* node) {
  Node* reader = nullptr;
  for (const Edge* edge : node->out_edges()) {
    if (edge->dst()->IsSink()) continue;
    if (reader != nullptr || edge->IsControlEdge() || edge->dst_input() != 0) return nullptr;
    reader = edge->dst();
  }
  return reader;
}

bool IsOnDeviceOf(const Node* node, const Node* other) {
  return node->assigned_device_name() == other->assigned_device_name();
}

bool KeepsValuesInFloat32(const Node* product) {
  tensorflow::DataType type;
  bool keeps = false;
  return tensorflow::GetNodeAttr(product->attrs(), "T", &type).ok() &&
         type == tensorflow::DT_FLOAT &&
         tensorflow::GetNodeAttr(product->attrs(), "keeps_values", &keeps).ok() && keeps &&
         absl::StrContains(product->assigned_device_name(), "CPU:");
}

bool AddsToLastAxis(const Node* bias) {
  std::string format;
  return bias != nullptr && bias->type_string() == "BiasAdd" &&
         tensorflow::GetNodeAttr(bias->attrs(), "data_format", &format).ok() && format == "NHWC";
}

// The attribute `activation` for a node behind the bias.
std::string ActivationOf(const Node* node) {
  if (node == nullptr || !IsOneOf(node, {"Relu", "Relu6"})) return "None";
  return node->type_string();
}

absl::StatusOr<Node*> Joined(Graph* graph, const Node* product, const Node* bias,
                             const std::string& activation) {
  tensorflow::NodeBuilder builder(graph->NewName(product->name()),
                                  absl::StrCat(product->type_string(), "WithBias"));
  const Edge* edge = nullptr;
  for (int input = 0; input < kProductInputs; ++input) {
    TF_RETURN_IF_ERROR(product->input_edge(input, &edge));
    builder.Input(edge->src(), edge->src_output());
  }
  TF_RETURN_IF_ERROR(bias->input_edge(kBias, &edge));
  builder.Input(edge->src(), edge->src_output());
  for (const auto& [name, value] : product->attrs()) builder.Attr(name, value);
  Node* joined = nullptr;
  TF_RETURN_IF_ERROR(builder.Attr("activation", activation)
                         .Device(product->requested_device())
                         .Finalize(graph, &joined));
  joined->set_assigned_device_name(product->assigned_device_name());
  return joined;
}

absl::Status Join(Graph* graph, Node* product) {
  Node* bias = KeepsValuesInFloat32(product) ? OnlyReader(product) : nullptr;
  if (!AddsToLastAxis(bias) || !IsOnDeviceOf(bias, product)) return absl::OkStatus();
  Node* last = OnlyReader(bias);
  const std::string activation = ActivationOf(last);
  if (activation == "None" || !IsOnDeviceOf(last, product)) last = bias;
  TF_ASSIGN_OR_RETURN(Node * joined,
                      Joined(graph, product, bias, last == bias ? "None" : activation));
  std::vector<Node*> parts = {product, bias};
  if (last != bias) parts.push_back(last);
  for (const Node* part : parts)
    for (const Edge* edge : part->in_edges())
      if (edge->IsControlEdge()) graph->AddControlEdge(edge->src(), joined);
  const std::vector<const Edge*> edges(last->out_edges().begin(), last->out_edges().end());
  for (const Edge* edge : edges) {
    Node* reader = edge->dst();
    if (edge->IsControlEdge()) {
      graph->AddControlEdge(joined, reader);
    } else {
      const int input = edge->dst_input();
      TF_RETURN_IF_ERROR(graph->UpdateEdge(joined, 0, reader, input));
    }
  }
  for (auto part = parts.rbegin(); part != parts.rend(); ++part) graph->RemoveNode(*part);
  return absl::OkStatus();
}

class JoinBiases : public tensorflow::GraphOptimizationPass {
 public:
  absl::Status Run(const tensorflow::GraphOptimizationPassOptions& options) override {
    if (options.graph == nullptr || *options.graph == nullptr) return absl::OkStatus();
    Graph* graph = options.graph->get();
    for (const char* type : {"KerasSparse>Conv2D", "KerasSparse>MatMul"})
      for (Node* product : NodesOfType(graph, type)) TF_RETURN_IF_ERROR(Join(graph, product));
    return absl::OkStatus();
  }
};

// After share_values.cc, whose pairs stay apart: a prediction has no gradients.
REGISTER_OPTIMIZATION(tensorflow::OptimizationPassRegistry::POST_REWRITE_FOR_EXEC, 1, JoinBiases);

}  // namespace
}  // namespace keras_sparse
