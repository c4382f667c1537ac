// Leaves out the gradient of a bias behind which a batch normalization follows: it is 0.
//
//   BiasAddGrad(BatchNormGradient(...))  -> 0 * the gradient of the offset
//
// A training step subtracts the mean of the batch, and with it the bias. So the input gradient of
// the normalization sums to 0 over the batch, but for rounding. TensorFlow would read all of it for
// that sum; beside the kernel gradient of a convolution of few channels this takes longer than the
// rest of the layer. The product stays no number where the gradient is none.
#include "absl/strings/str_cat.h"
#include "custom_ops/tensorflow/graph_edits.h"
#include "custom_ops/tensorflow/normalization_check.h"
#include "custom_ops/tensorflow/registration.h"

namespace keras_sparse {
namespace {

using tensorflow::Graph;
using tensorflow::Node;
using tensorflow::NodeBuilder;

constexpr int kByInputs = 0, kByOffset = 2;  // outputs of the gradient

bool SumsLastAxis(const Node* node) {
  std::string format;
  return node->type_string() == "BiasAddGrad" &&
         tensorflow::GetNodeAttr(node->attrs(), "data_format", &format).ok() && format == "NHWC";
}

// 0 * the gradient of the offset, in the type of the bias.
absl::StatusOr<Node*> ZerosOf(Graph* graph, const Node* sum, Node* gradient) {
  tensorflow::DataType type;
  TF_RETURN_IF_ERROR(tensorflow::GetNodeAttr(sum->attrs(), "T", &type));
  const auto name = [&](const char* part) {
    return graph->NewName(absl::StrCat(sum->name(), "/", part));
  };
  tensorflow::Tensor zero(0.0f);
  NodeBuilder constant(name("zero"), "Const");
  constant.Attr("dtype", tensorflow::DT_FLOAT).Attr("value", zero);
  constant.ControlInput(gradient);  // so that it is in the same loop
  TF_ASSIGN_OR_RETURN(Node* const factor, Added(graph, sum, constant));
  NodeBuilder product(name("zeros"), "Mul");
  product.Input(gradient, kByOffset).Input(factor);
  TF_ASSIGN_OR_RETURN(Node* const zeros, Added(graph, sum, product));
  if (type == tensorflow::DT_FLOAT) return zeros;
  NodeBuilder cast(name("cast"), "Cast");
  cast.Input(zeros).Attr("DstT", type);
  return Added(graph, sum, cast);
}

absl::Status ReplaceByZeros(Graph* graph, Node* sum, Node* gradient) {
  TF_ASSIGN_OR_RETURN(Node* const zeros, ZerosOf(graph, sum, gradient));
  TF_RETURN_IF_ERROR(Redirect(graph, sum, 0, {zeros, 0}));
  Replace(graph, sum, zeros);
  return absl::OkStatus();
}

class ZeroBiasGradients : public tensorflow::GraphOptimizationPass {
 public:
  absl::Status Run(const tensorflow::GraphOptimizationPassOptions& options) override {
    if (options.graph == nullptr || *options.graph == nullptr) return absl::OkStatus();
    Graph* graph = options.graph->get();
    for (Node* sum : NodesOfType(graph, "BiasAddGrad")) {
      const auto [source, output] = SourceOf(sum, 0, {"Identity"});
      if (!SumsLastAxis(sum) || source == nullptr || output != kByInputs ||
          source->type_string() != "KerasSparse>BatchNormGradient" ||
          source->num_inputs() > kAddend || !AreOnOneDevice(source, sum))
        continue;
      TF_RETURN_IF_ERROR(ReplaceByZeros(graph, sum, const_cast<Node*>(source)));
    }
    return absl::OkStatus();
  }
};

// After fuse_normalization.cc, which gives a gradient its addend; before TensorFlow joins the sum
// with a kernel gradient.
KS_REGISTER_PASS(tensorflow::OptimizationPassRegistry::POST_REWRITE_FOR_EXEC, 2, ZeroBiasGradients);

}  // namespace
}  // namespace keras_sparse
