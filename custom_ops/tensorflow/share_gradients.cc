// Pairs an input gradient with the kernel gradient of the same product, when TensorFlow prepares a
// graph: one pass over the output gradient then computes both.
//
// A pair gets one name in its attribute `shared_gradient`, and the kernel gradient waits for the
// input gradient. What the kernels do with the name is in cpu_kernel.h. A kernel gradient that
// finds nothing under its name, or something that was computed from other tensors, computes its
// own.
#include <algorithm>
#include <atomic>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "custom_ops/tensorflow/graph_order.h"
#include "custom_ops/tensorflow/registration.h"

namespace keras_sparse {
namespace {

using tensorflow::Graph;
using tensorflow::Node;

constexpr char kAttribute[] = "shared_gradient";

// The places of inputs, mask and output gradient.
constexpr int kOfInputGradient[] = {0, 2, 3}, kOfKernelGradient[] = {0, 1, 2};

// Where an input comes from, past copies; then past the beginnings of branches of conditions, from
// the innermost one to the outermost one.
std::vector<Source> SourcesByBranch(const Node* node, int input) {
  const tensorflow::Edge* edge = nullptr;
  std::vector<Source> sources;
  while (node->input_edge(input, &edge).ok()) {
    node = edge->src(), input = 0;
    if (!node->IsIdentity()) sources.emplace_back(node, edge->src_output());
    if (!node->IsIdentity() && !node->IsSwitch()) break;
  }
  return sources;
}

// Is this the kernel gradient of the same product, and does it run only where the input gradient
// does? It may stand in a branch of a condition that the other one is not in. So it reads what the
// other one reads, or that past the beginnings of further branches.
bool Belongs(const Node* by_kernel, const Node* by_inputs) {
  if (by_kernel->assigned_device_name() != by_inputs->assigned_device_name()) return false;
  for (int i = 0; i < 3; ++i) {
    const auto wanted = SourcesByBranch(by_inputs, kOfInputGradient[i]),
               found = SourcesByBranch(by_kernel, kOfKernelGradient[i]);
    if (wanted.empty() || std::count(found.begin(), found.end(), wanted[0]) == 0) return false;
  }
  return true;
}

bool IsList(const Node* by_kernel) {
  bool as_list = false;
  return tensorflow::GetNodeAttr(by_kernel->attrs(), "as_list", &as_list).ok() && as_list;
}

// The kernel gradients are one, or those in both branches of a condition.
void Pair(Graph* graph, Node* by_inputs, const std::vector<Node*>& by_kernel) {
  static std::atomic<int64_t> pairs = 0;
  const std::string name = absl::StrCat("gradients_", pairs++);
  const auto before = Before(by_inputs);
  by_inputs->ClearAttr("as_list");
  by_inputs->AddAttr("as_list", IsList(by_kernel[0]));
  for (Node* node : by_kernel) {
    if (before.count(node) > 0 || IsList(node) != IsList(by_kernel[0])) continue;
    for (Node* each : {by_inputs, node}) {
      each->ClearAttr(kAttribute);
      each->AddAttr(kAttribute, name);
    }
    graph->AddControlEdge(by_inputs, node);
  }
}

class ShareGradients : public tensorflow::GraphOptimizationPass {
 public:
  absl::Status Run(const tensorflow::GraphOptimizationPassOptions& options) override {
    if (options.graph == nullptr || *options.graph == nullptr) return absl::OkStatus();
    Graph* graph = options.graph->get();
    for (const char* product : {"KerasSparse>MatMul", "KerasSparse>Conv2D"}) {
      std::vector<Node*> by_kernel = OnCpu(graph, absl::StrCat(product, "KernelGradient"));
      std::vector<Node*> by_input = OnCpu(graph, absl::StrCat(product, "InputGradient"));
      for (Node* node : OnCpu(graph, absl::StrCat(product, "InputGradientWithSum")))
        by_input.push_back(node);
      for (Node* by_inputs : by_input) {
        const auto own =
            std::partition(by_kernel.begin(), by_kernel.end(),
                           [by_inputs](const Node* node) { return !Belongs(node, by_inputs); });
        if (own != by_kernel.end()) Pair(graph, by_inputs, {own, by_kernel.end()});
        by_kernel.erase(own, by_kernel.end());
      }
    }
    return absl::OkStatus();
  }

 private:
  static std::vector<Node*> OnCpu(Graph* graph, const std::string& type) {
    std::vector<Node*> nodes;
    for (Node* node : graph->op_nodes())
      if (node->type_string() == type && IsOnCpu(node)) nodes.push_back(node);
    return nodes;
  }
};

// After list_gradients.cc, which says of a kernel gradient that it is a list.
KS_REGISTER_PASS(tensorflow::OptimizationPassRegistry::POST_REWRITE_FOR_EXEC, 101, ShareGradients);

}  // namespace
}  // namespace keras_sparse
