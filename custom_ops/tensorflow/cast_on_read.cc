// Lets products in 16 bits read a float32 variable, when TensorFlow prepares a graph:
//
//   Conv2D(Cast(kernel))  ->  Conv2D(Bitcast(kernel), kernel_in_floats)
//
// A cast reads and writes all weights in every step; the product rounds the active ones as it reads
// them. The values are the same. Bitcast changes the name of the type, and copies nothing.
//
// A layer that chooses while the graph runs has its product in a branch of a condition. The cast
// goes into the branch that needs it:
//
//   Switch(Cast(kernel)) -> Conv2D | stock
//     ->  Switch(kernel) -> Conv2D(Bitcast, kernel_in_floats) | stock(Cast)
#include <algorithm>
#include <vector>

#include "custom_ops/tensorflow/graph_edits.h"
#include "custom_ops/tensorflow/registration.h"

namespace keras_sparse {
namespace {

using tensorflow::DataType;
using tensorflow::Edge;
using tensorflow::Graph;
using tensorflow::Node;
using tensorflow::NodeBuilder;
using tensorflow::OutputTensor;

constexpr int kKernel = 1;  // input of both kinds of products

bool ReadsKernel(const Edge* edge) {
  return edge->dst_input() == kKernel && IsOnCpu(edge->dst()) &&
         IsOneOf(
             edge->dst(),
             {"KerasSparse>MatMul", "KerasSparse>MatMulWithBias", "KerasSparse>MatMulInputGradient",
              "KerasSparse>Conv2D", "KerasSparse>Conv2DWithBias", "KerasSparse>Conv2DWithSum",
              "KerasSparse>Conv2DInputGradient", "KerasSparse>Conv2DInputGradientWithSum"});
}

bool IsSwitchOf(const Edge* edge) { return edge->dst()->IsSwitch() && edge->dst_input() == 0; }

// Those that read an output.
std::vector<const Edge*> Readers(const Node* node, int output) {
  std::vector<const Edge*> readers;
  for (const Edge* edge : node->out_edges())
    if (edge->src_output() == output) readers.push_back(edge);
  return readers;
}

// Does a product read it, at once or in a branch?
bool ReachesProduct(const Node* node, int output) {
  const auto readers = Readers(node, output);
  return std::any_of(readers.begin(), readers.end(), [](const Edge* edge) {
    return ReadsKernel(edge) ||
           (IsSwitchOf(edge) && (ReachesProduct(edge->dst(), 0) || ReachesProduct(edge->dst(), 1)));
  });
}

// Puts the kernel in floats behind what reads one cast.
class ReadsInFloats {
 public:
  ReadsInFloats(Graph* graph, const Node* cast, DataType type)
      : graph_(graph), cast_(cast), type_(type) {}

  // What reads this output, which is cast, reads `floats`.
  absl::Status Move(const Node* node, int output, OutputTensor floats) {
    Node *cast = nullptr, *bits = nullptr;
    for (const Edge* edge : Readers(node, output)) {
      Node* const reader = edge->dst();
      const int input = edge->dst_input();
      if (IsSwitchOf(edge)) {
        TF_RETURN_IF_ERROR(MoveSwitch(reader, floats));
      } else if (ReadsKernel(edge)) {
        TF_RETURN_IF_ERROR(Add("Bitcast", "type", floats, &bits));
        TF_RETURN_IF_ERROR(graph_->UpdateEdge(bits, 0, reader, input));
        reader->ClearAttr("kernel_in_floats");
        reader->AddAttr("kernel_in_floats", true);
      } else {
        TF_RETURN_IF_ERROR(Add("Cast", "DstT", floats, &cast));
        TF_RETURN_IF_ERROR(graph_->UpdateEdge(cast, 0, reader, input));
      }
    }
    return absl::OkStatus();
  }

 private:
  absl::Status MoveSwitch(Node* old, OutputTensor floats) {
    const OutputTensor condition = InputOf(old, 1);
    NodeBuilder builder(graph_->NewName(old->name()), "Switch");
    builder.Input(floats.node, floats.index).Input(condition.node, condition.index);
    TF_ASSIGN_OR_RETURN(Node * branches, Added(graph_, old, builder));
    for (int branch : {0, 1}) TF_RETURN_IF_ERROR(Move(old, branch, OutputTensor(branches, branch)));
    Replace(graph_, old, branches);
    return absl::OkStatus();
  }

  // The node that gives floats in the type of the cast, unless there is one.
  absl::Status Add(const char* kind, const char* type, OutputTensor floats, Node** node) {
    if (*node != nullptr) return absl::OkStatus();
    NodeBuilder builder(graph_->NewName(cast_->name()), kind);
    builder.Input(floats.node, floats.index).Attr(type, type_);
    TF_ASSIGN_OR_RETURN(*node, Added(graph_, cast_, builder));
    return absl::OkStatus();
  }

  Graph* graph_;
  const Node* cast_;
  DataType type_;
};

// For more than its input.
bool Waits(const Node* node) {
  const auto& edges = node->in_edges();
  return std::any_of(edges.begin(), edges.end(),
                     [](const Edge* edge) { return edge->IsControlEdge(); });
}

absl::Status MoveReaders(Graph* graph, Node* cast) {
  DataType from, to;
  TF_RETURN_IF_ERROR(tensorflow::GetNodeAttr(cast->attrs(), "SrcT", &from));
  TF_RETURN_IF_ERROR(tensorflow::GetNodeAttr(cast->attrs(), "DstT", &to));
  const bool is_to_16_bits = to == tensorflow::DT_BFLOAT16 || to == tensorflow::DT_HALF;
  if (from != tensorflow::DT_FLOAT || !is_to_16_bits || !IsOnCpu(cast) || Waits(cast) ||
      !ReachesProduct(cast, 0))
    return absl::OkStatus();
  const OutputTensor floats = InputOf(cast, 0);
  TF_RETURN_IF_ERROR(ReadsInFloats(graph, cast, to).Move(cast, 0, floats));
  Replace(graph, cast, floats.node);
  return absl::OkStatus();
}

class CastOnRead : public tensorflow::GraphOptimizationPass {
 public:
  absl::Status Run(const tensorflow::GraphOptimizationPassOptions& options) override {
    if (options.graph == nullptr || *options.graph == nullptr) return absl::OkStatus();
    Graph* graph = options.graph->get();
    for (Node* cast : NodesOfType(graph, "Cast")) TF_RETURN_IF_ERROR(MoveReaders(graph, cast));
    return absl::OkStatus();
  }
};

// After XLA's own passes, which end with 60: XLA reads no kernel in floats. Before
// read_before_step.cc, which finds what reads a variable.
KS_REGISTER_PASS(tensorflow::OptimizationPassRegistry::POST_REWRITE_FOR_EXEC, 101, CastOnRead);

}  // namespace
}  // namespace keras_sparse
