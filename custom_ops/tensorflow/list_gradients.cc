// Hands the step of a masked weight a list in place of a dense gradient, when TensorFlow prepares a
// graph:
//
//   ApplyMaskedMomentum(mask, Merge(dense gradient, KernelGradient(mask)))
//     -> ApplyMaskedMomentum(mask, Merge(dense gradient, KernelGradient(mask, as_list)),
//     takes_list); ApplyMaskedAdam likewise
//
// The Merge is where the growth window is open or closed. While it is closed, the gradient of a
// missing weight is 0, so the active weights' gradients say all, and nothing writes or reads the
// zeros. The values of a step are the same.
//
// Between the two may stand what passes on any list: Identity, Cast, Merge, and Reshape, which goes
// away. If anything else reads the gradient, it stays dense: a norm, a sum, the program. Both masks
// must be the value of one variable that nothing in the graph writes.
#include <algorithm>
#include <utility>
#include <vector>

#include "custom_ops/tensorflow/graph_order.h"
#include "custom_ops/tensorflow/registration.h"
#include "custom_ops/tensorflow/step_check.h"

namespace keras_sparse {
namespace {

using tensorflow::Edge;
using tensorflow::Graph;
using tensorflow::Node;

constexpr int kKernelGradientMask = 1;  // input of a kernel gradient

// Whether nodes do no more with the variable than to read it. A call of a function may write it.
bool IsOnlyRead(const Node* node, int output) {
  for (const Edge* edge : node->out_edges()) {
    const Node* reader = edge->dst();
    if (edge->IsControlEdge() || (output >= 0 && edge->src_output() != output)) continue;
    const bool passes_on = IsOneOf(reader, {"Identity", "Switch", "Enter"});
    if (passes_on ? !IsOnlyRead(reader, -1) : !IsOneOf(reader, {"ReadVariableOp", "VariableShape"}))
      return false;
  }
  return true;
}

int DataReaders(const Node* node) {
  const auto& edges = node->out_edges();
  return static_cast<int>(std::count_if(edges.begin(), edges.end(),
                                        [](const Edge* edge) { return !edge->IsControlEdge(); }));
}

// What leads to the gradient of one step.
class Gradient {
 public:
  Gradient(const Node* step, Source mask) : mask_(std::move(mask)) { Follow(step, kGradient); }

  const std::vector<Node*>& kernel_gradients() const { return kernel_gradients_; }
  const std::vector<Node*>& reshapes() const { return reshapes_; }

 private:
  void Follow(const Node* reader, int input) {
    const Edge* edge = nullptr;
    if (!reader->input_edge(input, &edge).ok()) return;
    Node* node = edge->src();
    if (DataReaders(node) != 1 || node->assigned_device_name() != reader->assigned_device_name())
      return;
    const size_t before = kernel_gradients_.size();
    if (IsOneOf(node, {"KerasSparse>MatMulKernelGradient", "KerasSparse>Conv2DKernelGradient"})) {
      if (VariableOf(node, kKernelGradientMask) == mask_) kernel_gradients_.push_back(node);
    } else if (node->IsMerge()) {
      for (int i = 0; i < node->num_inputs(); ++i) Follow(node, i);
    } else if (IsOneOf(node, {"Identity", "Cast", "Reshape"})) {
      Follow(node, 0);
      if (node->type_string() == "Reshape" && kernel_gradients_.size() > before)
        reshapes_.push_back(node);
    }
  }

  Source mask_;
  std::vector<Node*> kernel_gradients_, reshapes_;
};

// Its reader reads what it reshapes.
absl::Status Bypass(Graph* graph, Node* reshape) {
  const Edge *in = nullptr, *out = nullptr;
  TF_RETURN_IF_ERROR(reshape->input_edge(0, &in));
  Node* const source = in->src();
  const int output = in->src_output();
  for (const Edge* edge : reshape->out_edges())
    if (!edge->IsControlEdge()) out = edge;
  Node* const reader = out->dst();
  for (const Edge* edge : reshape->in_edges())
    if (edge->IsControlEdge()) graph->AddControlEdge(edge->src(), reader);
  for (const Edge* edge : reshape->out_edges())
    if (edge->IsControlEdge()) graph->AddControlEdge(source, edge->dst());
  TF_RETURN_IF_ERROR(graph->UpdateEdge(source, output, reader, out->dst_input()));
  graph->RemoveNode(reshape);
  return absl::OkStatus();
}

class ListGradients : public tensorflow::GraphOptimizationPass {
 public:
  absl::Status Run(const tensorflow::GraphOptimizationPassOptions& options) override {
    if (options.graph == nullptr || *options.graph == nullptr) return absl::OkStatus();
    Graph* graph = options.graph->get();
    for (Node* step : NodesOfTypes(graph, {kMomentumOp, kAdamOp}))
      TF_RETURN_IF_ERROR(TakeList(graph, step));
    return absl::OkStatus();
  }

 private:
  static absl::Status TakeList(Graph* graph, Node* step) {
    const Source mask = VariableOf(step, kMask);
    if (mask.first == nullptr || !IsOnlyRead(mask.first, mask.second) || !IsOnCpu(step))
      return absl::OkStatus();
    const Gradient gradient(step, mask);
    if (gradient.kernel_gradients().empty()) return absl::OkStatus();
    for (Node* node : gradient.kernel_gradients()) node->AddAttr("as_list", true);
    for (Node* node : gradient.reshapes()) TF_RETURN_IF_ERROR(Bypass(graph, node));
    step->AddAttr("takes_list", true);
    return absl::OkStatus();
  }
};

// After XLA's own passes of this group, which end with 60: XLA has no lists.
KS_REGISTER_PASS(tensorflow::OptimizationPassRegistry::POST_REWRITE_FOR_EXEC, 100, ListGradients);

}  // namespace
}  // namespace keras_sparse
