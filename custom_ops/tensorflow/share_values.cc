// Pairs a forward product with the input gradient of the same kernel and mask, when TensorFlow
// prepares a graph: the second one then takes the values that the first one has read.
//
// A pair gets one name in its attribute `shared_values`, and nothing else changes. What the kernels
// do with it is in shared_values.h. A wrong pair would cost time, and change no result.
#include <atomic>
#include <map>
#include <string>
#include <tuple>
#include <unordered_set>
#include <vector>

#include "absl/strings/str_cat.h"
#include "custom_ops/tensorflow/graph_order.h"
#include "custom_ops/tensorflow/registration.h"

namespace keras_sparse {
namespace {

using tensorflow::Graph;
using tensorflow::Node;

constexpr int kKernel = 1, kMask = 2;  // inputs of both operations
constexpr char kAttribute[] = "shared_values";

// Copies, and the beginnings of branches of conditions.
const std::vector<const char*> kPassed = {"Identity", "Switch"};

// By product, kernel and mask.
using Key = std::tuple<std::string, Source, Source>;

class ShareValues : public tensorflow::GraphOptimizationPass {
 public:
  absl::Status Run(const tensorflow::GraphOptimizationPassOptions& options) override {
    if (options.graph == nullptr || *options.graph == nullptr) return absl::OkStatus();
    std::map<Key, std::vector<Node*>> forward, gradients;
    for (Node* node : (*options.graph)->op_nodes()) {
      for (const char* product : {"KerasSparse>MatMul", "KerasSparse>Conv2D"}) {
        const bool is_forward = node->type_string() == product;
        if (!is_forward && node->type_string() != absl::StrCat(product, "InputGradient")) continue;
        const Key key = {product, SourceOf(node, kKernel, kPassed), SourceOf(node, kMask, kPassed)};
        if (IsOnCpu(node)) (is_forward ? forward : gradients)[key].push_back(node);
      }
    }
    for (auto& [key, readers] : gradients) Pair(forward[key], readers);
    return absl::OkStatus();
  }

 private:
  // The forward product must come first: what it keeps waits for the gradient.
  static void Pair(const std::vector<Node*>& forward, const std::vector<Node*>& gradients) {
    static std::atomic<int64_t> pairs = 0;
    std::unordered_set<const Node*> paired;
    for (Node* gradient : gradients) {
      if (forward.size() == paired.size()) return;
      const auto before = Before(gradient);
      for (Node* product : forward) {
        if (before.count(product) == 0 || !paired.insert(product).second) continue;
        const std::string name = absl::StrCat("pair_", pairs++);
        product->AddAttr(kAttribute, name);
        gradient->AddAttr(kAttribute, name);
        break;
      }
    }
  }
};

KS_REGISTER_PASS(tensorflow::OptimizationPassRegistry::POST_REWRITE_FOR_EXEC, 0, ShareValues);

}  // namespace
}  // namespace keras_sparse
