"""The check of a model's training step, in four stages of the code that runs on TPUs."""

import dataclasses
from typing import Any

import keras

from keras_sparse.conversion.progress import Line, progress
from keras_sparse.tpu_check.cluster import NotForTpuError, check_ops, cluster
from keras_sparse.tpu_check.compile import Compiled, compile_for
from keras_sparse.tpu_check.library import CannotLowerError
from keras_sparse.tpu_check.lower import Lowered, lower
from keras_sparse.tpu_check.replica import cut_out
from keras_sparse.tpu_check.train_step import trace

STAGES = ("traced", "cluster", "lowered", "compiled")


@dataclasses.dataclass
class Answers:
    """The results of the stages.

    Args:
        topology: name of the TPUs' topology.
        replicas: number of cores, each with a copy of the model.
        code: 0 compiles, 1 rejected, 2 cannot run.
        said: ``{stage: "yes" with figures, or the reason}``. Stages after the first failure are
            missing.
        ops: number of ops of one step that run on TPUs.
        lowered: the step in the form that a TPU receives; None before that stage.
        compiled: libtpu's result; None before that stage.
    """

    topology: str
    replicas: int
    code: int = 2
    said: dict[str, str] = dataclasses.field(default_factory=dict)
    ops: int = 0
    lowered: Lowered | None = None
    compiled: Compiled | None = None


def check(model: keras.Model, batch: Any, topology: str) -> Answers:
    """Traces, clusters, lowers and compiles the training step of a model.

    Args:
        model: a model that was compiled under ``fake_tpu.strategy(replicas)``.
        batch: ``(inputs, targets)``, tf.TensorSpecs of a global batch.
        topology: libtpu's name of the topology, e.g. ``"v5e:2x2"``.

    Raises:
        ValueError: a model that is not compiled under the strategy, or a batch of unknown shape.
    """
    answers = Answers(topology, model.distribute_strategy.num_replicas_in_sync)
    try:
        with progress("tpu-check") as line:
            _check(model, batch, answers, line)
    except NotForTpuError as error:
        answers.code = 1
        answers.said[STAGES[len(answers.said)]] = f"no: {error}"
    except CannotLowerError as error:
        answers.said["lowered"] = f"cannot run: {error}"
    return answers


def _check(model: keras.Model, batch: Any, answers: Answers, line: Line) -> None:
    line.says("tracing the step")
    step = trace(model, batch)
    answers.said["traced"] = "yes, Keras' own step"
    line.says("TensorFlow's passes for TPUs")
    answers.ops = check_ops(step.function.graph)
    cluster(step.function, step.replicas)
    answers.said["cluster"] = f"yes, all {answers.ops} ops in one, none on the host"
    line.says("lowering the step")
    answers.lowered = lower(cut_out(step))
    answers.said["lowered"] = (
        f"yes, {len(answers.lowered.hlo):,} bytes of HLO, "
        f"{len(answers.lowered.updates)} variables updated"
    )
    line.says("libtpu compiles it")
    answers.compiled = compile_for(answers.lowered.hlo, answers.topology, answers.replicas)
    answers.code = answers.compiled.code
    answers.said["compiled"] = (
        "yes" if answers.code == 0 else f"{answers.compiled.outcome}: {answers.compiled.why}"
    )
