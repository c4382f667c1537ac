// Sums the gradient of a bias in bfloat16 over float32 partial sums, on CPUs:
//
//   BiasAddGrad(gradient)  -> Sum(gradient, all axes but the last)
//
// TensorFlow's own operation keeps its partial sums in bfloat16, which has 8 bits: beside a large
// sum, the next summand is rounded away. Where a kernel gradient of TensorFlow reads the same
// tensor, oneDNN joins both and sums in float32 itself.
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "custom_ops/tensorflow/graph_edits.h"
#include "custom_ops/tensorflow/registration.h"

namespace keras_sparse {
namespace {

using tensorflow::Edge;
using tensorflow::Graph;
using tensorflow::Node;
using tensorflow::NodeBuilder;
using tensorflow::OutputTensor;

constexpr int kOutputGradient = 2;  // input of a kernel gradient

bool IsInexact(const Node* sum) {
  std::string format;
  tensorflow::DataType type;
  return tensorflow::GetNodeAttr(sum->attrs(), "data_format", &format).ok() && format == "NHWC" &&
         tensorflow::GetNodeAttr(sum->attrs(), "T", &type).ok() &&
         type == tensorflow::DT_BFLOAT16 && absl::StrContains(sum->assigned_device_name(), "CPU");
}

bool IsReadByKernelGradient(const OutputTensor& gradient) {
  for (const Edge* edge : gradient.node->out_edges())
    if (edge->src_output() == gradient.index && edge->dst_input() == kOutputGradient &&
        IsOneOf(edge->dst(), {"Conv2DBackpropFilter", "Conv3DBackpropFilterV2"}))
      return true;
  return false;
}

class Sums {
 public:
  Sums(Graph* graph, Node* old) : graph_(graph), old_(old) {}

  absl::Status Replace() {
    const OutputTensor gradient = InputOf(old_, 0);
    TF_ASSIGN_OR_RETURN(Node* const axes, Axes(gradient));
    NodeBuilder sum = Named("sum", "Sum");
    sum.Input(gradient.node, gradient.index).Input(axes);
    TF_ASSIGN_OR_RETURN(Node* const added, Added(graph_, old_, sum));
    TF_RETURN_IF_ERROR(Redirect(graph_, old_, 0, {added, 0}));
    keras_sparse::Replace(graph_, old_, added);
    return absl::OkStatus();
  }

 private:
  NodeBuilder Named(const char* part, const char* type) const {
    return NodeBuilder(graph_->NewName(absl::StrCat(old_->name(), "/", part)), type);
  }

  // It waits for the gradient, so that it is in the same loop.
  absl::StatusOr<Node*> Constant(int value, Node* gradient) const {
    NodeBuilder constant = Named("constant", "Const");
    constant.Attr("dtype", tensorflow::DT_INT32).Attr("value", tensorflow::Tensor(value));
    return Added(graph_, old_, constant.ControlInput(gradient));
  }

  // 0 ... rank - 2, as the graph may not know the rank.
  absl::StatusOr<Node*> Axes(const OutputTensor& gradient) const {
    TF_ASSIGN_OR_RETURN(Node* const zero, Constant(0, gradient.node));
    TF_ASSIGN_OR_RETURN(Node* const one, Constant(1, gradient.node));
    NodeBuilder rank = Named("rank", "Rank");
    rank.Input(gradient.node, gradient.index);
    TF_ASSIGN_OR_RETURN(Node* const all, Added(graph_, old_, rank));
    NodeBuilder difference = Named("last", "Sub");
    difference.Input(all).Input(one);
    TF_ASSIGN_OR_RETURN(Node* const last, Added(graph_, old_, difference));
    NodeBuilder range = Named("axes", "Range");
    range.Input(zero).Input(last).Input(one);
    return Added(graph_, old_, range);
  }

  Graph* graph_;
  Node* old_;
};

class SumBiasGradients : public tensorflow::GraphOptimizationPass {
 public:
  absl::Status Run(const tensorflow::GraphOptimizationPassOptions& options) override {
    if (options.graph == nullptr || *options.graph == nullptr) return absl::OkStatus();
    Graph* graph = options.graph->get();
    for (Node* sum : NodesOfType(graph, "BiasAddGrad"))
      if (IsInexact(sum) && !IsReadByKernelGradient(InputOf(sum, 0)))
        TF_RETURN_IF_ERROR(Sums(graph, sum).Replace());
    return absl::OkStatus();
  }
};

// After zero_bias_gradient.cc, which leaves some of these gradients out.
KS_REGISTER_PASS(tensorflow::OptimizationPassRegistry::POST_REWRITE_FOR_EXEC, 4, SumBiasGradients);

}  // namespace
}  // namespace keras_sparse
