// Lets the step of a masked weight wait for all that reads the weight's value, when TensorFlow
// prepares a graph.
//
// A step that comes first must not change the value that an operation still holds: it copies the
// weight, and steps in the copy. Nothing orders the step of a layer and its input gradient, which
// become ready at the same time.
//
// A reader may lie in a branch that is not taken, and a gradient may come from the other one. So a
// Merge with one input is put before the step, and waits for the readers: unlike other nodes, it
// also runs after what was not taken.
#include <vector>

#include "custom_ops/tensorflow/graph_order.h"
#include "custom_ops/tensorflow/registration.h"
#include "custom_ops/tensorflow/step_check.h"
#include "tensorflow/core/graph/control_flow.h"
#include "tensorflow/core/graph/node_builder.h"

namespace keras_sparse {
namespace {

using tensorflow::Edge;
using tensorflow::Graph;
using tensorflow::Node;

// Adds the nodes that compute something of what this one gives.
void AddReaders(const Node* node, std::vector<Node*>* readers) {
  for (const Edge* edge : node->out_edges()) {
    if (edge->IsControlEdge()) continue;
    Node* reader = edge->dst();
    if (IsOneOf(reader, {"Identity", "Switch", "Merge", "Reshape", "Bitcast"})) {
      AddReaders(reader, readers);
    } else if (!reader->IsControlFlow() && !reader->IsRetval()) {
      readers->push_back(reader);
    }
  }
}

class ReadBeforeStep : public tensorflow::GraphOptimizationPass {
 public:
  absl::Status Run(const tensorflow::GraphOptimizationPassOptions& options) override {
    if (options.graph == nullptr || *options.graph == nullptr) return absl::OkStatus();
    Graph* graph = options.graph->get();
    const std::vector<Node*> steps = NodesOfTypes(graph, {kMomentumOp, kAdamOp});
    if (steps.empty()) return absl::OkStatus();
    std::vector<tensorflow::ControlFlowInfo> frames;
    TF_RETURN_IF_ERROR(tensorflow::BuildControlFlowInfo(graph, &frames));
    for (Node* step : steps) TF_RETURN_IF_ERROR(Wait(graph, step, frames));
    return absl::OkStatus();
  }

 private:
  static absl::Status Wait(Graph* graph, Node* step,
                           const std::vector<tensorflow::ControlFlowInfo>& frames) {
    const Source variable = HandleOf(step, kVar);
    std::vector<Node*> readers, waited_for;
    for (const Node* read : NodesOfType(graph, "ReadVariableOp"))
      if (variable.first != nullptr && HandleOf(read, 0) == variable) AddReaders(read, &readers);
    for (Node* reader : readers)
      if (frames[reader->id()].frame == frames[step->id()].frame &&
          reader->assigned_device_name() == step->assigned_device_name() &&
          Before(reader).count(step) == 0)
        waited_for.push_back(reader);
    if (waited_for.empty()) return absl::OkStatus();
    const Edge* gradient = nullptr;
    TF_RETURN_IF_ERROR(step->input_edge(kGradient, &gradient));
    Node* merge = nullptr;
    const std::vector<tensorflow::NodeBuilder::NodeOut> one = {
        {gradient->src(), gradient->src_output()}};
    TF_RETURN_IF_ERROR(tensorflow::NodeBuilder(graph->NewName(step->name() + "/Wait"), "Merge")
                           .Input(one)
                           .Device(step->requested_device())
                           .Finalize(graph, &merge));
    merge->set_assigned_device_name(step->assigned_device_name());
    for (Node* reader : waited_for) graph->AddControlEdge(reader, merge);
    return graph->UpdateEdge(merge, 0, step, kGradient);
  }
};

// After list_gradients.cc and share_gradients.cc, which look at what computes the gradient.
KS_REGISTER_PASS(tensorflow::OptimizationPassRegistry::POST_REWRITE_FOR_EXEC, 102, ReadBeforeStep);

}  // namespace
}  // namespace keras_sparse
