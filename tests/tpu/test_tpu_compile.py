"""libtpu compiles our training steps; without libtpu these tests are skipped."""

import importlib.util

import pytest
import tpu_networks as networks
from on_tpu import needs_compiler, run

from keras_sparse.tpu_check.compile import compile_for

pytestmark = [
    needs_compiler,
    pytest.mark.slow,
    pytest.mark.skipif(
        importlib.util.find_spec("libtpu") is None,
        reason="libtpu is not installed: pip install -e '.[tpu-aot]'",
    ),
]

MACHINES = [
    ("v4:2x2x1", 1),
    ("v4:2x2x1", 4),
    ("v4:2x2x2", 8),
    ("v5e:2x2", 1),
    ("v5e:2x2", 4),
    ("v5e:2x4", 8),
    ("v6e:2x2", 1),
    ("v6e:2x2", 4),
    ("v6e:2x4", 8),
]
SPARSE = "sparse layers, SGD"
OTHERS = [name for name in networks.GOOD if name != SPARSE]


@pytest.fixture(scope="module")
def lowered(tmp_path_factory):
    """A function (model, replicas) -> HLO; all models are lowered at once."""
    folder = tmp_path_factory.mktemp("hlo")
    jobs = [
        (SPARSE, 1),
        (SPARSE, 4),
        (SPARSE, 8),
        *((name, 4) for name in (*OTHERS, *networks.REFUSED)),
    ]
    run(
        f"""
        models = networks.GOOD | {{name: make for name, (make, _) in networks.REFUSED.items()}}
        for name, replicas in {jobs}:
            found = lower.lower(replica.cut_out(traced(models[name], replicas)))
            open(f"{folder}/{{name}} {{replicas}}", "wb").write(found.hlo)
        tell(None)
        """
    )
    return lambda name, replicas: (folder / f"{name} {replicas}").read_bytes()


@pytest.mark.parametrize(("topology", "replicas"), MACHINES)
def test_the_step_with_sparse_layers_compiles(lowered, topology, replicas):
    answer = compile_for(lowered(SPARSE, replicas), topology, replicas)
    assert answer.outcome == "compiles", answer
    assert answer.flops > 1e5
    assert 0 < answer.memory < 2**27
    assert (answer.all_reduces >= 1) == (replicas > 1)
    assert answer.conditionals == 0


@pytest.mark.parametrize("name", OTHERS)
def test_other_steps_compile(lowered, name):
    answer = compile_for(lowered(name, 4), "v5e:2x2", 4)
    assert answer.outcome == "compiles", answer


@pytest.mark.parametrize("name", networks.REFUSED)
def test_what_the_tpu_compiler_refuses(lowered, name):
    answer = compile_for(lowered(name, 4), "v5e:2x2", 4)
    assert answer.outcome == "rejected", answer
    assert networks.REFUSED[name][1] in answer.why


@pytest.mark.parametrize(
    ("topology", "replicas", "why"),
    [("v5e:2x2", 8, "v5e:2x2 has 4 cores, for 8 replicas"), ("v99:2x2", 1, "v99")],
)
def test_tpus_that_do_not_exist_are_no_pass(lowered, topology, replicas, why):
    answer = compile_for(lowered(SPARSE, replicas), topology, replicas)
    assert answer.outcome == "cannot run", answer
    assert why in answer.why
