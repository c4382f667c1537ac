"""TensorFlow lowers the step for TPUs, and the lowered step computes what Keras does."""

import pytest
import tpu_networks as networks
from on_tpu import needs_compiler, run

pytestmark = [
    needs_compiler,
    pytest.mark.slow,
]  # the library that lowers takes half a minute to compile, once


@pytest.fixture(scope="module")
def lowered():
    """{model: the error, or [bytes of HLO, outputs, variables updated]}, for four replicas."""
    return run(
        """
        answers = {}
        bad = {name: make for name, (make, _) in networks.BAD.items()}
        for name, make in {**networks.GOOD, **bad}.items():
            step = traced(make, 4)
            try:
                found = lower.lower(replica.cut_out(step))
                answers[name] = [len(found.hlo), found.outputs, [one.name for one in found.updates]]
            except tpu_check.NotForTpuError as error:
                answers[name] = str(error)
        tell(answers)
        """
    )


@pytest.mark.parametrize("name", networks.GOOD)
def test_the_step_is_lowered(lowered, name):
    size, outputs, updates = lowered[name]
    assert size > 10_000
    assert outputs == 2  # loss and accuracy
    ends = {"/".join(one.split("/")[-2:]) for one in updates}
    assert {
        "conv/kernel",
        "head/kernel",
        "conv/bias",
        "head/bias",
        "norm/gamma",
        "norm/moving_mean",
        "loss/total",
        "accuracy/count",
    } <= ends


@pytest.mark.parametrize("name", networks.BAD)
def test_what_tpus_do_not_have_is_not_lowered(lowered, name):
    assert lowered[name].startswith(
        "TensorFlow cannot lower the step for TPUs: INVALID_ARGUMENT: Detected unsupported "
    )
    assert networks.BAD[name][1] in lowered[name]


def test_a_library_that_comes_too_late_says_so():
    said = run(
        """
        import tensorflow as tf
        tf.function(tf.identity, jit_compile=True)(0.0)
        try:
            tpu_check.load()
        except tpu_check.CannotLowerError as error:
            tell(str(error))
        """,
        loads=False,
    )
    assert said.startswith(
        "TensorFlow has already registered its XLA kernels, without those for TPUs. "
        "Call `keras_sparse.tpu_check.load()` first in a process"
    )


def test_without_compiler_nothing_is_lowered(tmp_path):
    said = run(
        """
        try:
            tpu_check.load()
        except tpu_check.CannotLowerError as error:
            tell(str(error))
        """,
        loads=False,
        CXX="no_such_compiler",
        XDG_CACHE_HOME=str(tmp_path),
    )
    assert said == (
        "Lowering for TPUs needs a C++ compiler: $CXX, g++ or clang++. "
        "Received: CXX='no_such_compiler', and none of them was found"
    )


NUMBERS = {
    "stock layers": "networks.compiled(networks.network(norm=False))",
    "sparse layers": "networks.compiled(ks.sparsify(networks.network(norm=False)))",
    "sparse layers, density 0.05": (
        "networks.compiled(ks.sparsify(networks.network(norm=False)), density=0.05)"
    ),
    "normalization": "networks.compiled(networks.network())",
    "sparse layers, normalization": "networks.compiled(ks.sparsify(networks.network()))",
    "sparse layers, normalization, Adam": (
        "networks.compiled(ks.sparsify(networks.network()), keras.optimizers.Adam())"
    ),
}


@pytest.fixture(scope="module")
def numbers():
    """{model: {replicas: comparison}}; one replica with normalization, whose statistics differ."""
    jobs = [
        (name, make, n)
        for name, make in NUMBERS.items()
        for n in ((1,) if "normalization" in name else (1, 2))
    ]
    return run(
        f"""
        from on_cpu import compare
        answers = {{}}
        for name, make, replicas in {jobs}:
            answers.setdefault(name, {{}})[replicas] = compare(lambda: eval(make), replicas)
        tell(answers)
        """,
        XLA_FLAGS="--xla_force_host_platform_device_count=2",
        JAX_PLATFORMS="cpu",
    )


def check_numbers(answer):
    assert answer["forgotten"] == []
    assert len(answer["moved"]) >= 12  # kernels, biases, their momenta, metrics, counters
    wrong = {
        name: difference
        for name, difference in answer["differences"].items()
        if not difference < 1e-5
    }
    assert wrong == {}


@pytest.mark.parametrize("name", NUMBERS)
def test_what_is_lowered_computes_what_keras_computes(numbers, name):
    check_numbers(numbers[name]["1"])


@pytest.mark.parametrize("name", [name for name in NUMBERS if "normalization" not in name])
def test_two_replicas_compute_what_one_computes_of_the_whole_batch(numbers, name):
    check_numbers(numbers[name]["2"])
