// Pairs the step of a masked weight with the forward product of the next step, when TensorFlow
// prepares a graph: a step by a list hands over the active weights, and the product need not read
// them out of a large kernel.
//
// A pair gets one name in its attribute `handed_values`, and nothing else changes. The kernels keep
// the weight's tensor beside the list until the product takes it. So whoever writes the weight in
// between gives it other memory, and the product reads the kernel. A wrong pair would cost time,
// and change no result.
#include <atomic>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "custom_ops/tensorflow/graph_order.h"
#include "custom_ops/tensorflow/registration.h"
#include "custom_ops/tensorflow/step_check.h"

namespace keras_sparse {
namespace {

using tensorflow::Graph;
using tensorflow::Node;

constexpr int kKernel = 1;  // input of a forward product
constexpr char kAttribute[] = "handed_values";

bool TakesLists(const Node* step) {
  bool takes = false;
  return tensorflow::GetNodeAttr(step->attrs(), "takes_list", &takes).ok() && takes;
}

std::vector<Node*> ForwardProducts(Graph* graph) {
  std::vector<Node*> products;
  for (Node* node : graph->op_nodes()) {
    if (IsOneOf(node, {"KerasSparse>MatMul", "KerasSparse>MatMulWithBias", "KerasSparse>Conv2D",
                       "KerasSparse>Conv2DWithBias", "KerasSparse>Conv2DWithSum"}) &&
        IsOnCpu(node))
      products.push_back(node);
  }
  return products;
}

class HandValues : public tensorflow::GraphOptimizationPass {
 public:
  absl::Status Run(const tensorflow::GraphOptimizationPassOptions& options) override {
    if (options.graph == nullptr || *options.graph == nullptr) return absl::OkStatus();
    static std::atomic<int64_t> pairs = 0;
    Graph* graph = options.graph->get();
    const std::vector<Node*> products = ForwardProducts(graph);
    for (Node* step : NodesOfTypes(graph, {kMomentumOp, kAdamOp})) {
      const Source variable = HandleOf(step, kVar);
      if (!TakesLists(step) || variable.first == nullptr) continue;
      std::vector<Node*> readers;
      for (Node* product : products)
        if (VariableOf(product, kKernel) == variable) readers.push_back(product);
      if (readers.size() != 1) continue;  // of several, one would take what all could use
      const std::string name = absl::StrCat("step_", pairs++);
      for (Node* node : {step, readers[0]}) {
        node->ClearAttr(kAttribute);
        node->AddAttr(kAttribute, name);
      }
    }
    return absl::OkStatus();
  }
};

// After list_gradients.cc, which says of a step that it takes a list; after fuse_bias.cc; and after
// cast_on_read.cc, which lets products read a variable without a cast.
KS_REGISTER_PASS(tensorflow::OptimizationPassRegistry::POST_REWRITE_FOR_EXEC, 103, HandValues);

}  // namespace
}  // namespace keras_sparse
