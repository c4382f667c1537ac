// What a node of a graph is computed from, for the passes that rewrite graphs.
#pragma once

#include <algorithm>
#include <string>
#include <unordered_set>
#include <utility>
#include <vector>

#include "tensorflow/core/graph/graph.h"

namespace keras_sparse {

// A node and its output.
using Source = std::pair<const tensorflow::Node*, int>;

inline bool IsOneOf(const tensorflow::Node* node, const std::vector<const char*>& types) {
  return std::any_of(types.begin(), types.end(),
                     [&](const char* type) { return node->type_string() == type; });
}

inline std::vector<tensorflow::Node*> NodesOfTypes(tensorflow::Graph* graph,
                                                   const std::vector<const char*>& types) {
  std::vector<tensorflow::Node*> nodes;
  for (tensorflow::Node* node : graph->op_nodes())
    if (IsOneOf(node, types)) nodes.push_back(node);
  return nodes;
}

inline std::vector<tensorflow::Node*> NodesOfType(tensorflow::Graph* graph, const char* type) {
  return NodesOfTypes(graph, {type});
}

// Where an input comes from, past nodes of these types; a null pointer if there is none.
inline Source SourceOf(const tensorflow::Node* node, int input,
                       const std::vector<const char*>& passed) {
  const tensorflow::Edge* edge = nullptr;
  if (!node->input_edge(input, &edge).ok()) return {nullptr, 0};
  return IsOneOf(edge->src(), passed) ? SourceOf(edge->src(), 0, passed)
                                      : Source{edge->src(), edge->src_output()};
}

// The argument of the graph that is this handle of a variable; a null pointer if it is none.
inline Source HandleOf(const tensorflow::Node* node, int input) {
  const Source handle = SourceOf(node, input, {"Identity", "Switch", "Enter"});
  return handle.first != nullptr && handle.first->IsArg() ? handle : Source{nullptr, 0};
}

// The argument of the graph that is the variable whose value an input is; a null pointer if it is
// the value of none.
inline Source VariableOf(const tensorflow::Node* node, int input) {
  const tensorflow::Node* read =
      SourceOf(node, input, {"Identity", "Switch", "Reshape", "ExpandDims", "Squeeze", "Bitcast"})
          .first;
  if (read == nullptr || read->type_string() != "ReadVariableOp") return {nullptr, 0};
  return HandleOf(read, 0);
}

inline bool IsOnCpu(const tensorflow::Node* node) {
  return node->assigned_device_name().find("CPU:") != std::string::npos;
}

// The node itself, and all nodes that it is computed from or waits for: in one iteration of a loop
// that it is in, and in any iteration of a loop that ends before it.
inline std::unordered_set<const tensorflow::Node*> Before(const tensorflow::Node* node) {
  // Nodes with the number of loops that they are in, and the first node is not.
  std::vector<std::pair<const tensorflow::Node*, int>> left = {{node, 0}};
  std::unordered_set<const tensorflow::Node*> seen = {node};
  while (!left.empty()) {
    const auto [next, loops] = left.back();
    left.pop_back();
    if (next->IsNextIteration() && loops <= 0) continue;
    for (const tensorflow::Edge* edge : next->in_edges())
      if (seen.insert(edge->src()).second)
        left.emplace_back(edge->src(), loops + next->IsExit() - next->IsEnter());
  }
  return seen;
}

}  // namespace keras_sparse
