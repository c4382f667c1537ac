// How a node of a graph takes the place of others, for the passes that rewrite graphs: readers of
// their outputs are redirected to it, it waits for what they wait for, and what waits for them
// waits for it. Then they are removed.
#pragma once

#include <string>
#include <vector>

#include "custom_ops/tensorflow/graph_order.h"
#include "tensorflow/core/graph/node_builder.h"

namespace keras_sparse {

// Where an input comes from; a null node if there is no such input.
inline tensorflow::OutputTensor InputOf(const tensorflow::Node* node, int input) {
  const tensorflow::Edge* edge = nullptr;
  if (!node->input_edge(input, &edge).ok()) return {};
  return {edge->src(), edge->src_output()};
}

// The node that reads an output, once, where no other node reads it; null if there are several, or
// none. It says nothing of nodes that wait for this one without reading it: see IsAwaited.
inline tensorflow::Node* OnlyReader(const tensorflow::Node* node, int output) {
  tensorflow::Node* reader = nullptr;
  for (const tensorflow::Edge* edge : node->out_edges()) {
    if (edge->src_output() != output) continue;
    if (reader != nullptr) return nullptr;
    reader = edge->dst();
  }
  return reader;
}

// Whether another node waits for this one, without reading it.
inline bool IsAwaited(const tensorflow::Node* node) {
  for (const tensorflow::Edge* edge : node->out_edges())
    if (edge->IsControlEdge() && !edge->dst()->IsSink()) return true;
  return false;
}

inline bool AreOnOneDevice(const tensorflow::Node* a, const tensorflow::Node* b) {
  return a->assigned_device_name() == b->assigned_device_name();
}

// The node that a builder makes, on the device of another one.
inline absl::StatusOr<tensorflow::Node*> Added(tensorflow::Graph* graph,
                                               const tensorflow::Node* beside,
                                               tensorflow::NodeBuilder& builder) {
  tensorflow::Node* added = nullptr;
  TF_RETURN_IF_ERROR(builder.Device(beside->requested_device()).Finalize(graph, &added));
  added->set_assigned_device_name(beside->assigned_device_name());
  return added;
}

// A node of the type, with the attributes of another one, and on its device. `inputs`: tensors, all
// of them single ones but for those of AddN, which are a list.
inline absl::StatusOr<tensorflow::Node*> AddedLike(
    tensorflow::Graph* graph, const tensorflow::Node* like, const std::string& type,
    const std::vector<tensorflow::OutputTensor>& inputs, const std::string& activation = "") {
  tensorflow::NodeBuilder builder(graph->NewName(like->name()), type);
  std::vector<tensorflow::NodeBuilder::NodeOut> outputs;
  for (const tensorflow::OutputTensor& input : inputs)
    outputs.emplace_back(input.node, input.index);
  if (type == "AddN") {
    builder.Input(outputs);
  } else {
    for (const tensorflow::NodeBuilder::NodeOut& output : outputs) builder.Input(output);
  }
  for (const auto& [name, value] : like->attrs()) builder.Attr(name, value);
  if (!activation.empty()) builder.Attr("activation", activation);
  return Added(graph, like, builder);
}

// What reads the old output reads the new one.
inline absl::Status Redirect(tensorflow::Graph* graph, const tensorflow::Node* old, int old_output,
                             tensorflow::OutputTensor output) {
  std::vector<const tensorflow::Edge*> edges;
  for (const tensorflow::Edge* edge : old->out_edges())
    if (edge->src_output() == old_output) edges.push_back(edge);
  for (const tensorflow::Edge* edge : edges) {
    tensorflow::Node* reader = edge->dst();
    const int input = edge->dst_input();
    TF_RETURN_IF_ERROR(graph->UpdateEdge(output.node, output.index, reader, input));
  }
  return absl::OkStatus();
}

// A node waits for what the old one waits for.
inline void WaitLike(tensorflow::Graph* graph, const tensorflow::Node* old,
                     tensorflow::Node* node) {
  for (const tensorflow::Edge* edge : old->in_edges())
    if (edge->IsControlEdge() && edge->src() != node) graph->AddControlEdge(edge->src(), node);
}

// What waits for the old node waits for the other one.
inline void AwaitInstead(tensorflow::Graph* graph, const tensorflow::Node* old,
                         tensorflow::Node* node) {
  std::vector<tensorflow::Node*> waiting;
  for (const tensorflow::Edge* edge : old->out_edges())
    if (edge->IsControlEdge() && edge->dst() != node) waiting.push_back(edge->dst());
  for (tensorflow::Node* each : waiting) graph->AddControlEdge(node, each);
}

// Removes a node whose outputs nobody reads any more, and puts another one in its place in the
// order of nodes.
inline void Replace(tensorflow::Graph* graph, tensorflow::Node* old, tensorflow::Node* node) {
  WaitLike(graph, old, node);
  AwaitInstead(graph, old, node);
  graph->RemoveNode(old);
}

}  // namespace keras_sparse
