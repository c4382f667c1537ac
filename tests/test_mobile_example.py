"""The mobile example meets all of XNNPACK's rules for sparse 1x1 convolutions."""

import numpy as np
import pytest

import keras_sparse as ks
from examples import mobile
from keras_sparse.exporting.litert_graph import graphs_in

pytestmark = pytest.mark.slow
pytest.importorskip("tensorflow")


def test_each_1x1_convolution_is_faster_on_arm_by_the_rules(tmp_path):
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(64, 32, 32, 3)).astype("float32"), rng.integers(0, 10, 64)
    model = mobile.trained(mobile.network(0.5), x, y, epochs=3)
    path = tmp_path / "mobile.tflite"
    report = ks.export(model, path, "litert", sample=x[:4], verbose=False, compare_dense=False)
    found = {row.name.split("/")[0]: row for row in report.layers if row.kind == "CONV_2D"}
    assert found.pop("stem").density == 1
    assert sorted(found) == [f"pointwise_{number}" for number in range(1, 6)]
    for row in found.values():
        assert (row.stored, row.on_arm) == ("sparse", "yes: XNNPACK has a sparse kernel for it")
    graph = next(graphs_in(path))
    kinds = [one.kind for one in graph.operations]
    assert kinds.count("DEPTHWISE_CONV_2D") == 5
    kernels = [graph.constant(one.inputs[1]) for one in graph.operations if one.kind == "CONV_2D"]
    pointwise = [kernel for kernel in kernels if kernel.shape[1:3] == (1, 1)]
    zeros = sum(int(np.sum(kernel == 0)) for kernel in pointwise)
    assert zeros > 2 / 3 * sum(kernel.size for kernel in pointwise)
    for kernel in pointwise:  # (outputs, 1, 1, inputs): 4 outputs are 0 together
        blocks = (kernel[:, 0, 0] != 0).reshape(-1, 4, kernel.shape[-1]).sum(1)
        assert set(np.unique(blocks)) == {0, 4}
