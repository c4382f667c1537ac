// Joins a convolution, or its input gradient, with the sum behind it, when TensorFlow prepares a
// graph:
//
//   AddV2(Conv2D(x), other)               -> Conv2DWithSum(x, other)
//   AddN(Conv2DInputGradient(g), other)   -> Conv2DInputGradientWithSum(g, other)
//
// The sums of residual branches, and of their gradients, so take no pass of their own over three
// arrays. It does so where nothing else reads a tensor between these operations, and where the
// other tensor is not computed from the product. A layer that chooses while the graph runs has its
// product in a branch of a condition, and the sum behind the branches:
//
//   AddV2(Merge(Conv2D(x), stock), other) -> Merge(Conv2DWithSum(x, other), AddV2(stock, other))
//
// Graphs that are saved never hold the joined operations.
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "custom_ops/tensorflow/graph_edits.h"
#include "custom_ops/tensorflow/registration.h"

namespace keras_sparse {
namespace {

using tensorflow::Edge;
using tensorflow::Graph;
using tensorflow::Node;
using tensorflow::OutputTensor;

// What stands behind a product: the end of a condition, if the product is in a branch; and the sum
// of two tensors, of which `own` is the input that comes from the product.
struct Behind {
  Node *merge = nullptr, *sum = nullptr;
  int own = 0;
};

Node* NextOf(const Node* node) { return IsAwaited(node) ? nullptr : OnlyReader(node, 0); }

tensorflow::DataType TypeOf(const Node* node) {
  tensorflow::DataType type;
  return tensorflow::GetNodeAttr(node->attrs(), "T", &type).ok() ? type : tensorflow::DT_INVALID;
}

// Does the sum read, or wait for, what is computed from the product, beside the product itself?
bool HasAnotherWay(const Node* product, const Node* sum, const Node* last) {
  for (const Edge* edge : sum->in_edges())
    if (edge->src() != last && Before(edge->src()).count(product) > 0) return true;
  return false;
}

Behind WhatFollows(const Node* product) {
  Behind found;
  const Node* last = product;
  Node* reader = NextOf(product);
  while (reader != nullptr &&
         (reader->IsIdentity() || (reader->IsMerge() && found.merge == nullptr))) {
    if (reader->IsMerge()) found.merge = reader;
    last = reader;
    reader = NextOf(last);
  }
  const bool is_sum = reader != nullptr && IsOneOf(reader, {"AddV2", "AddN"}) &&
                      reader->num_inputs() == 2 && TypeOf(reader) == TypeOf(product) &&
                      AreOnOneDevice(reader, product);
  if (!is_sum || HasAnotherWay(product, reader, last)) return {};
  found.sum = reader;
  found.own = InputOf(reader, 0).node == last ? 0 : 1;
  return found;
}

// The other branches of the condition get a sum of their own.
absl::Status FinishOthers(Graph* graph, const Node* joined, const Behind& behind) {
  for (int input = 0; input < behind.merge->num_inputs(); ++input) {
    if (SourceOf(behind.merge, input, {"Identity"}).first == joined) continue;
    std::vector<OutputTensor> inputs = {InputOf(behind.sum, 0), InputOf(behind.sum, 1)};
    inputs[behind.own] = InputOf(behind.merge, input);
    TF_ASSIGN_OR_RETURN(Node * sum,
                        AddedLike(graph, behind.sum, behind.sum->type_string(), inputs));
    TF_RETURN_IF_ERROR(graph->UpdateEdge(sum, 0, behind.merge, input));
  }
  return absl::OkStatus();
}

absl::Status Join(Graph* graph, Node* product) {
  if (!IsOnCpu(product)) return absl::OkStatus();
  const Behind behind = WhatFollows(product);
  if (behind.sum == nullptr) return absl::OkStatus();
  std::vector<OutputTensor> inputs;
  for (int input = 0; input < product->num_inputs(); ++input)
    inputs.push_back(InputOf(product, input));
  inputs.push_back(InputOf(behind.sum, 1 - behind.own));
  TF_ASSIGN_OR_RETURN(
      Node * joined,
      AddedLike(graph, product, absl::StrCat(product->type_string(), "WithSum"), inputs));
  for (const Node* part : {product, behind.sum}) WaitLike(graph, part, joined);
  TF_RETURN_IF_ERROR(Redirect(graph, product, 0, {joined, 0}));
  if (behind.merge != nullptr) TF_RETURN_IF_ERROR(FinishOthers(graph, joined, behind));
  const OutputTensor end = InputOf(behind.sum, behind.own);
  TF_RETURN_IF_ERROR(Redirect(graph, behind.sum, 0, end));
  AwaitInstead(graph, behind.sum, end.node);
  graph->RemoveNode(behind.sum);
  graph->RemoveNode(product);
  return absl::OkStatus();
}

class JoinSums : public tensorflow::GraphOptimizationPass {
 public:
  absl::Status Run(const tensorflow::GraphOptimizationPassOptions& options) override {
    if (options.graph == nullptr || *options.graph == nullptr) return absl::OkStatus();
    Graph* graph = options.graph->get();
    for (const char* type : {"KerasSparse>Conv2D", "KerasSparse>Conv2DInputGradient"})
      for (Node* product : NodesOfType(graph, type)) TF_RETURN_IF_ERROR(Join(graph, product));
    return absl::OkStatus();
  }
};

// After share_values.cc, which pairs products by their names, and after fuse_normalization.cc,
// which takes a sum behind a normalization's gradient.
KS_REGISTER_PASS(tensorflow::OptimizationPassRegistry::POST_REWRITE_FOR_EXEC, 3, JoinSums);

}  // namespace
}  // namespace keras_sparse
