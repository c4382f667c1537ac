"""Keras' own training step becomes one cluster for TPUs, with our optimizer and layers in it."""

import pytest
import tpu_networks as networks
from on_tpu import run
from oracle import needs_ops

from keras_sparse import tpu_check

REPLICAS = (1, 4)


@pytest.fixture(scope="module")
def answers():
    """{model: {replicas: [error of its ops, error of its clusters, names of its inputs, ops]}}."""
    return run(
        f"""
        answers = {{}}
        bad = {{name: make for name, (make, _) in networks.BAD.items()}}
        for name, make in {{**networks.GOOD, **bad}}.items():
            for replicas in {REPLICAS}:
                step = traced(make, replicas)
                reads = [one.name for one in replica.cut_out(step).inputs]
                count = len(cluster.nodes_in_cluster(step.function.graph))
                why = [
                    why_not(lambda: cluster.check_ops(step.function.graph)),
                    why_not(lambda: cluster.cluster(step.function, replicas)),
                ]
                answers.setdefault(name, {{}})[replicas] = [*why, reads, count]
        tell(answers)
        """,
        loads=False,
    )


@pytest.mark.parametrize("replicas", REPLICAS)
@pytest.mark.parametrize("name", networks.GOOD)
def test_nothing_but_ops_of_tpus_is_in_the_step(answers, name, replicas):
    why, _, _, count = answers[name][str(replicas)]
    assert why == ""
    assert count > 100


@pytest.mark.parametrize("replicas", REPLICAS)
@pytest.mark.parametrize("name", networks.GOOD)
def test_the_clustering_passes_make_one_part_of_it_and_leave_nothing(answers, name, replicas):
    assert answers[name][str(replicas)][1] == ""


@pytest.mark.parametrize("name", networks.GOOD)
def test_the_step_reads_the_batch_its_number_and_named_variables(answers, name):
    reads = answers[name]["4"][2]
    assert {"batch 0", "batch 1", "replica"} < set(reads)
    assert not [one for one in reads if one.startswith("capture")]
    assert len(set(reads)) == len(reads)


@pytest.mark.parametrize("name", networks.GOOD)
def test_masks_are_read_on_the_tpu_where_there_are_any(answers, name):
    masks = [one for one in answers[name]["4"][2] if one.endswith("mask")]
    assert len(masks) == (0 if name == "SGD, without masks" else 2), masks


@pytest.mark.parametrize("name", networks.BAD)
def test_what_tpus_do_not_have_is_named(answers, name):
    for replicas in REPLICAS:
        why = answers[name][str(replicas)][0]
        assert why.startswith("TPUs do not have these ops: ")
        assert networks.BAD[name][1] in why


@pytest.mark.parametrize("name", networks.BAD)
def test_the_clustering_passes_send_it_to_the_host_or_fail(answers, name):
    why = answers[name]["4"][1]
    assert "on_host=1" in why or "clustering passes fail" in why


@needs_ops
def test_our_compiled_ops_would_be_sent_to_the_host():
    said = run(
        """
        from keras_sparse.compute import library as compiled_ops

        compiled_ops._under_tpu_strategy = lambda: False  # as if they were for TPUs
        step = traced(lambda: networks.compiled(ks.sparsify(networks.network(), "custom_op")), 2)
        tell(why_not(lambda: cluster.cluster(step.function, 2)))
        """,
        loads=False,
    )
    assert "Clusters(compiled=1, on_host=2, left=0)" in said


@needs_ops
def test_so_layers_use_stock_operations_and_say_why():
    said = run(
        """
        with tpu_check.strategy(2).scope():
            layer = ks.layers.SparseDense(64)
            layer.build((None, 64))
            try:
                ks.layers.SparseDense(64, implementation="custom_op")
            except ValueError as error:
                tell([layer.why_stock(), layer.supports_jit, str(error)])
        """,
        loads=False,
    )
    why = "the model is under a TPUStrategy, and the compiled ops are for CPUs and GPUs"
    assert said[:2] == [why, True]
    assert f"cannot run the custom op: {why}" in said[2]


WRONG = {  # (what compile is given, examples of a batch, the error)
    "jit_compile": (
        {"jit_compile": True},
        8,
        "which compiles the step itself. Received: jit_compile=True",
    ),
    "run_eagerly": (
        {"run_eagerly": True},
        8,
        "which compiles the step itself. Received: run_eagerly=True",
    ),
    "not compiled": (
        None,
        8,
        "call `model.compile(optimizer, loss)`. Received: model=Sequential 'sequential",
    ),
    "batch": (
        {},
        6,
        "a multiple of 4 examples: one part for each replica. Received: shape=(6, 8, 8, 16)",
    ),
}


@pytest.fixture(scope="module")
def errors():
    """{what is wrong: the error}."""
    return run(
        f"""
        def error_of(model, size):
            try:
                train_step.trace(model, (tf.TensorSpec((size, 8, 8, 16)), tf.TensorSpec((size, 4))))
            except ValueError as error:
                return str(error)

        errors = {{"strategy": error_of(networks.compiled(networks.network()), 8)}}
        for name, (settings, size, _) in {WRONG}.items():
            with tpu_check.strategy(4).scope():
                model = networks.network()
                if settings is not None:
                    model.compile("sgd", "mse", **settings)
            errors[name] = error_of(model, size)
        tell(errors)
        """,
        loads=False,
    )


@pytest.mark.parametrize("name", WRONG)
def test_wrong_arguments(errors, name):
    assert WRONG[name][2] in errors[name]


def test_a_model_that_was_made_elsewhere(errors):
    assert errors["strategy"].endswith(
        "scope of `keras_sparse.tpu_check.strategy(replicas)`. "
        "Received: strategy=_DefaultDistributionStrategy"
    )


def test_less_than_one_replica():
    with pytest.raises(ValueError, match="`replicas` must be at least 1. Received: replicas=0"):
        tpu_check.strategy(0)
