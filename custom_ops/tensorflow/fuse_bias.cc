// Joins a product with the bias and the ReLU behind it, when TensorFlow prepares a graph:
//
//   Relu(BiasAdd(Conv2D(x), bias))  -> Conv2DWithBias(x, bias, activation = Relu)
//   BiasAdd(Conv2D(x), bias)        -> Conv2DWithBias(x, bias)
//
// The same for MatMul and Relu6. Each saves a pass over the outputs. It does so where nothing else
// reads a tensor between these operations. A layer that chooses while the graph runs has its
// product in a branch of a condition, and the bias behind the branches:
//
//   BiasAdd(Merge(Conv2D(x), stock), bias)  -> Merge(Conv2DWithBias(x, bias), BiasAdd(stock, bias))
//
// Graphs that are saved never hold the joined operations.
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "custom_ops/tensorflow/graph_edits.h"
#include "custom_ops/tensorflow/registration.h"

namespace keras_sparse {
namespace {

using tensorflow::Graph;
using tensorflow::Node;
using tensorflow::OutputTensor;

constexpr int kProductInputs = 4, kBias = 1;

// The node that reads this one as its first input, or as any input of a merge, where nothing else
// reads it or waits for it; else null.
Node* NextOf(const Node* node) {
  Node* reader = OnlyReader(node, 0);
  if (reader == nullptr || IsAwaited(node)) return nullptr;
  return reader->IsMerge() || InputOf(reader, 0).node == node ? reader : nullptr;
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

// The operations behind a product: the end of a condition, if the product is in a branch; the bias;
// and the activation, if there is one that the product computes.
struct Behind {
  Node *merge = nullptr, *bias = nullptr, *activation = nullptr;
};

// The next node, past copies.
Node* NextPastCopies(const Node* node) {
  Node* reader = NextOf(node);
  while (reader != nullptr && reader->IsIdentity()) reader = NextOf(reader);
  return reader;
}

Behind WhatFollows(const Node* product) {
  Behind found;
  Node* reader = NextPastCopies(product);
  if (reader != nullptr && reader->IsMerge()) {
    found.merge = reader;
    reader = NextPastCopies(reader);
  }
  if (!AddsToLastAxis(reader) || !AreOnOneDevice(reader, product)) return {};
  found.bias = reader;
  reader = NextOf(reader);
  if (ActivationOf(reader) != "None" && AreOnOneDevice(reader, product)) found.activation = reader;
  return found;
}

absl::StatusOr<Node*> Joined(Graph* graph, const Node* product, const Behind& behind) {
  std::vector<OutputTensor> inputs;
  for (int input = 0; input < kProductInputs; ++input) inputs.push_back(InputOf(product, input));
  inputs.push_back(InputOf(behind.bias, kBias));
  return AddedLike(graph, product, absl::StrCat(product->type_string(), "WithBias"), inputs,
                   ActivationOf(behind.activation));
}

// The other branches of the condition get a bias, and the activation, of their own.
absl::Status FinishOthers(Graph* graph, const Node* joined, const Behind& behind) {
  for (int input = 0; input < behind.merge->num_inputs(); ++input) {
    OutputTensor other = InputOf(behind.merge, input);
    if (SourceOf(behind.merge, input, {"Identity"}).first == joined) continue;
    TF_ASSIGN_OR_RETURN(
        other.node, AddedLike(graph, behind.bias, "BiasAdd", {other, InputOf(behind.bias, kBias)}));
    other.index = 0;
    if (behind.activation != nullptr) {
      TF_ASSIGN_OR_RETURN(other.node, AddedLike(graph, behind.activation,
                                                behind.activation->type_string(), {other}));
    }
    TF_RETURN_IF_ERROR(graph->UpdateEdge(other.node, 0, behind.merge, input));
  }
  return absl::OkStatus();
}

absl::Status Join(Graph* graph, Node* product) {
  if (!IsOnCpu(product)) return absl::OkStatus();
  const Behind behind = WhatFollows(product);
  if (behind.bias == nullptr) return absl::OkStatus();
  TF_ASSIGN_OR_RETURN(Node * joined, Joined(graph, product, behind));
  std::vector<Node*> parts = {product, behind.bias};
  if (behind.activation != nullptr) parts.push_back(behind.activation);
  for (const Node* part : parts) WaitLike(graph, part, joined);
  TF_RETURN_IF_ERROR(Redirect(graph, product, 0, {joined, 0}));
  if (behind.merge != nullptr) TF_RETURN_IF_ERROR(FinishOthers(graph, joined, behind));
  const OutputTensor end = InputOf(behind.bias, 0);
  TF_RETURN_IF_ERROR(Redirect(graph, parts.back(), 0, end));
  AwaitInstead(graph, parts.back(), end.node);
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

// After share_values.cc, which pairs products by their names.
KS_REGISTER_PASS(tensorflow::OptimizationPassRegistry::POST_REWRITE_FOR_EXEC, 1, JoinBiases);

}  // namespace
}  // namespace keras_sparse
