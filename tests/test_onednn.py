"""Dense steps without oneDNN: on which processors a hint says so, and where it stands."""

import keras
import pytest

import keras_sparse as ks
from keras_sparse.commands import bench
from keras_sparse.compute import onednn
from keras_sparse.models import step_speed
from keras_sparse.models.step_parts import StepParts
from keras_sparse.reporting.content import Content
from keras_sparse.reporting.speed import speed_section

pytestmark = pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="of TensorFlow")
ZEN3, ALDER_LAKE = ("avx2", "fma"), ("avx2", "avx_vnni")
FIGURES = {"step_seconds_dense": 5.0, "step_speed_up_closed": 2.5, "step_speed_up_open": 1.0}


@pytest.fixture
def processor(monkeypatch):
    """Sets the instructions of the processor, and the variable of the environment."""

    def change(instructions, asked=None):
        monkeypatch.setattr(onednn, "instructions", lambda: frozenset(instructions))
        monkeypatch.delenv(onednn.VARIABLE, raising=False)
        if asked is not None:
            monkeypatch.setenv(onednn.VARIABLE, asked)

    return change


@pytest.mark.parametrize(
    ("instructions", "asked", "gets_a_hint"),
    [
        (ZEN3, None, True),
        (ZEN3, "1", False),
        (ZEN3, "True", False),
        (ZEN3, "0", True),
        (ALDER_LAKE, None, False),
        (ALDER_LAKE, "0", True),
        (("avx2", "avx512f"), None, True),
        (("avx2", "avx512f", "avx512_vnni"), None, False),
        (("avx",), None, False),
        ((), None, False),
    ],
)
def test_who_computes_without_onednn_gets_a_hint(instructions, asked, gets_a_hint, processor):
    processor(instructions, asked)
    assert (onednn.hint() is not None) == gets_a_hint


def test_a_timed_step_says_so(processor, monkeypatch, capsys):
    seconds = {"dense": [5.0], "closed": [2.0], "open": [5.0]}
    monkeypatch.setattr(step_speed, "_take_turns", lambda contenders: seconds)
    model = ks.sparsify(keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)]))
    processor(ALDER_LAKE)
    assert ks.summary(model, "dict", batch=2, time_step=True)["total"].keys() >= FIGURES.keys()
    assert "slow_dense" not in ks.summary(model, "dict", batch=2, time_step=True)["total"]
    processor(ZEN3)
    total = ks.summary(model, "dict", batch=2, time_step=True)["total"]
    assert total["slow_dense"] == onednn.HINT
    ks.summary(model, batch=2, time_step=True)
    assert onednn.HINT in " ".join(capsys.readouterr().out.split())


def test_bench_and_report_say_so():
    slow = FIGURES | {"density": 0.1, "slow_dense": onednn.HINT}
    assert bench.verdict(slow).endswith(f"while it is open. {onednn.HINT}.")
    parts = StepParts(forward=1.0, backward=1.0, optimizer=1.0, window=1.0)
    for total in (slow, FIGURES):
        content = Content("net", total={**total, "step_parts": parts}, batch=8)
        (section,) = speed_section(content)
        assert (onednn.HINT in "".join(section.itertext())) == ("slow_dense" in total)
