"""Would this model train on TPUs?  Four answers, each from the code that would give it there."""

import dataclasses
from typing import Any

import keras

from keras_sparse.tpu_check.cluster import NotForTpuError, check_ops, cluster
from keras_sparse.tpu_check.compile import Compiled, compile_for
from keras_sparse.tpu_check.library import CannotLowerError
from keras_sparse.tpu_check.lower import Lowered, lower
from keras_sparse.tpu_check.replica import cut_out
from keras_sparse.tpu_check.train_step import trace

STAGES = ("traced", "cluster", "lowered", "compiled")


@dataclasses.dataclass
class Answers:
    """What has been found out.

    Args:
        topology: of the TPUs.
        replicas: on as many of their cores.
        code: 0 compiles, 1 rejected, 2 cannot run.
        said: {stage: "yes" with figures, or why not}; stages after the first that fails are missing.
        ops: on TPUs, in one step.
        lowered: the step as a TPU gets it, if it comes so far.
        compiled: what libtpu says, if it comes so far.
    """

    topology: str
    replicas: int
    code: int = 2
    said: dict[str, str] = dataclasses.field(default_factory=dict)
    ops: int = 0
    lowered: Lowered | None = None
    compiled: Compiled | None = None


def check(model: keras.Model, batch: Any, topology: str) -> Answers:
    """Traces, clusters, lowers and compiles the train step of a model that was compiled under ``fake_tpu.strategy(replicas)``.

    Args:
        model: a compiled model.
        batch: ``(inputs, targets)``, tf.TensorSpecs of a global batch.
        topology: as libtpu calls it, e.g. "v5e:2x2".

    Raises:
        ValueError: wrong arguments.
    """
    answers = Answers(topology, model.distribute_strategy.num_replicas_in_sync)
    try:
        _check(model, batch, answers)
    except NotForTpuError as error:
        answers.code = 1
        answers.said[STAGES[len(answers.said)]] = f"no: {error}"
    except CannotLowerError as error:
        answers.said["lowered"] = f"cannot run: {error}"
    return answers


def _check(model: keras.Model, batch: Any, answers: Answers) -> None:
    step = trace(model, batch)
    answers.said["traced"] = "yes, Keras' own step"
    answers.ops = check_ops(step.function.graph)
    cluster(step.function, step.replicas)
    answers.said["cluster"] = f"yes, all {answers.ops} ops in one, none on the host"
    answers.lowered = lower(cut_out(step))
    answers.said["lowered"] = (
        f"yes, {len(answers.lowered.hlo):,} bytes of HLO, {len(answers.lowered.updates)} variables updated"
    )
    answers.compiled = compile_for(answers.lowered.hlo, answers.topology, answers.replicas)
    answers.code = answers.compiled.code
    answers.said["compiled"] = (
        "yes" if answers.code == 0 else f"{answers.compiled.outcome}: {answers.compiled.why}"
    )
