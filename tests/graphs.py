"""The nodes of TensorFlow's graphs that run in a test, as its passes have left them."""


def nodes_that_ran(run):
    """The nodes that are first run here."""
    from tensorflow.python.eager import context

    context.context().enable_graph_collection()
    try:
        run()
        graphs = context.context().export_run_metadata().partition_graphs
    finally:
        context.context().disable_graph_collection()
    return [node for graph in graphs for node in graph.node]


def pairs_that_ran(run, attribute):
    """Types of nodes that are first run here, in pairs with the same name in this attribute."""
    found = {}
    for node in nodes_that_ran(run):
        if name := node.attr[attribute].s:
            found.setdefault(name, []).append(node.op)
    return sorted(sorted(pair) for pair in found.values())
