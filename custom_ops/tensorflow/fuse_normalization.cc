// Joins a batch normalization with what stands beside it, when TensorFlow prepares a graph:
//
//   Relu(BatchNorm(x))                              -> BatchNorm(x, activation = Relu)
//   BatchNormGradient(x, ReluGrad(g, outputs))      -> BatchNormGradient(x, g, activation = Relu)
//   AddN(BatchNormGradient(x, g), other)            -> BatchNormGradient(x, g, addend = other)
//
// and so for every activation of contract/activation.h.
// Each saves passes over memory. Layers and gradients trace the operations one by one, so that
// whatever reads a tensor between them, in the graph or eagerly, finds it. Such a tensor is
// computed where something reads it: then nothing is joined. Graphs without KerasSparse>BatchNorm
// are left alone.
#include <optional>
#include <string>
#include <vector>

#include "custom_ops/tensorflow/graph_edits.h"
#include "custom_ops/tensorflow/normalization_check.h"
#include "custom_ops/tensorflow/registration.h"

namespace keras_sparse {
namespace {

using tensorflow::Edge;
using tensorflow::Graph;
using tensorflow::Node;
using tensorflow::NodeBuilder;
using tensorflow::OutputTensor;

constexpr char kNorm[] = "KerasSparse>BatchNorm", kGradient[] = "KerasSparse>BatchNormGradient";

bool IsSame(const OutputTensor& a, const OutputTensor& b) {
  return a.node == b.node && a.index == b.index;
}

bool HaveOneType(const Node* a, const Node* b) {
  tensorflow::DataType first, second;
  return tensorflow::GetNodeAttr(a->attrs(), "T", &first).ok() &&
         tensorflow::GetNodeAttr(b->attrs(), "T", &second).ok() && first == second;
}

Activation ActivationOf(const Node* node) {
  Activation activation = Activation::kNone;
  (void)ReadActivation(node->attrs(), &activation);  // the kernel refuses what is wrong
  return activation;
}

// The activation that a node of TensorFlow computes, or with "Grad" behind the names its gradient.
Activation ComputedBy(const Node* node, const char* behind) {
  for (const Activation activation : kActivations)
    if (node->type_string() == absl::StrCat(NameOf(activation), behind)) return activation;
  return Activation::kNone;
}

float EpsilonOf(const Node* node) {
  float epsilon = -1;
  return tensorflow::GetNodeAttr(node->attrs(), "epsilon", &epsilon).ok() ? epsilon : -1;
}

// A node of the type, with the activation, the gradient and the addend that it has from now on, in
// place of two: `node`, and the one beside it.
absl::StatusOr<Node*> Joined(Graph* graph, const Node* node, Activation activation,
                             std::optional<OutputTensor> gradient,
                             std::optional<OutputTensor> addend) {
  NodeBuilder builder(graph->NewName(node->name()), node->type_string());
  for (int input = kNormInputs; input <= kVariance; ++input) {
    const OutputTensor from = InputOf(node, input);
    builder.Input(from.node, from.index);
  }
  if (gradient) {
    builder.Input(gradient->node, gradient->index);
    std::vector<NodeBuilder::NodeOut> addends;
    if (addend) addends.emplace_back(addend->node, addend->index);
    builder.Input(addends).Attr("count", static_cast<int>(addends.size()));
  }
  builder.Attr("epsilon", EpsilonOf(node)).Attr("activation", NameOf(activation));
  return Added(graph, node, builder);
}

// Whether a node and the one that reads it may become one: of one type and on one device, with
// nothing between them.
bool CanJoin(const Node* first, const Node* second) {
  if (!HaveOneType(first, second) || !AreOnOneDevice(first, second)) return false;
  bool has_others = false;
  for (const Edge* edge : first->out_edges())
    has_others |= edge->dst() != second && !edge->dst()->IsSink();
  if (!has_others) return true;
  for (const Edge* edge : second->in_edges())
    if (edge->src() != first && Before(edge->src()).count(first) > 0) return false;
  return true;
}

absl::Status JoinActivation(Graph* graph, Node* norm) {
  Node* behind = OnlyReader(norm, 0);
  if (behind == nullptr || ActivationOf(norm) != Activation::kNone) return absl::OkStatus();
  const Activation activation = ComputedBy(behind, "");
  if (activation == Activation::kNone || !CanJoin(norm, behind)) return absl::OkStatus();
  TF_ASSIGN_OR_RETURN(Node * joined, Joined(graph, norm, activation, std::nullopt, std::nullopt));
  TF_RETURN_IF_ERROR(Redirect(graph, behind, 0, {joined, 0}));
  for (Node* old : {norm, behind}) Replace(graph, old, joined);
  return absl::OkStatus();
}

// Whether these outputs are those of the normalization with the activation that the gradient
// belongs to.
bool AreOutputsOf(const OutputTensor& outputs, Activation activation, const Node* gradient) {
  const Node* norm = outputs.node;
  if (norm->type_string() != kNorm || ActivationOf(norm) != activation ||
      EpsilonOf(norm) != EpsilonOf(gradient))
    return false;
  for (int input = kNormInputs; input <= kVariance; ++input)
    if (!IsSame(InputOf(norm, input), InputOf(gradient, input))) return false;
  return true;
}

// Returns the gradient that is there afterwards.
absl::StatusOr<Node*> JoinGradient(Graph* graph, Node* gradient) {
  Node* before = InputOf(gradient, kNormGradient).node;
  const Activation activation = ComputedBy(before, "Grad");
  if (activation == Activation::kNone || ActivationOf(gradient) != Activation::kNone ||
      OnlyReader(before, 0) != gradient ||
      !AreOutputsOf(InputOf(before, 1), activation, gradient) || !CanJoin(before, gradient))
    return gradient;
  TF_ASSIGN_OR_RETURN(Node * joined,
                      Joined(graph, gradient, activation, InputOf(before, 0), std::nullopt));
  for (const int output : {0, 1, 2})
    TF_RETURN_IF_ERROR(Redirect(graph, gradient, output, {joined, output}));
  for (Node* old : {before, gradient}) Replace(graph, old, joined);
  return joined;
}

absl::Status JoinSum(Graph* graph, Node* gradient) {
  Node* sum = OnlyReader(gradient, 0);
  if (sum == nullptr || sum->type_string() != "AddN" || sum->num_inputs() != 2 ||
      gradient->num_inputs() > kAddend || !CanJoin(gradient, sum))
    return absl::OkStatus();
  const OutputTensor other = InputOf(sum, InputOf(sum, 0).node == gradient ? 1 : 0);
  TF_ASSIGN_OR_RETURN(Node * joined, Joined(graph, gradient, ActivationOf(gradient),
                                            InputOf(gradient, kNormGradient), other));
  TF_RETURN_IF_ERROR(Redirect(graph, sum, 0, {joined, 0}));
  for (const int output : {1, 2})
    TF_RETURN_IF_ERROR(Redirect(graph, gradient, output, {joined, output}));
  for (Node* old : {gradient, sum}) Replace(graph, old, joined);
  return absl::OkStatus();
}

class JoinNormalizations : public tensorflow::GraphOptimizationPass {
 public:
  absl::Status Run(const tensorflow::GraphOptimizationPassOptions& options) override {
    if (options.graph == nullptr || *options.graph == nullptr) return absl::OkStatus();
    Graph* graph = options.graph->get();
    for (Node* norm : NodesOfType(graph, kNorm)) TF_RETURN_IF_ERROR(JoinActivation(graph, norm));
    for (Node* gradient : NodesOfType(graph, kGradient)) {
      TF_ASSIGN_OR_RETURN(Node * joined, JoinGradient(graph, gradient));
      TF_RETURN_IF_ERROR(JoinSum(graph, joined));
    }
    return absl::OkStatus();
  }
};

// Before XLA's own passes of this group, which begin with 5.
KS_REGISTER_PASS(tensorflow::OptimizationPassRegistry::POST_REWRITE_FOR_EXEC, 0,
                 JoinNormalizations);

}  // namespace
}  // namespace keras_sparse
