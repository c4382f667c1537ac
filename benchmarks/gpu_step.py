"""Times a whole training step on a GPU, sparse in blocks against the best dense Keras.

    python -m benchmarks.gpu_step --models WRN-28-10 --policies float32 mixed_bfloat16

Dense and sparse steps run in TensorFlow's operations and by XLA, in TensorFloat-32 and in bfloat16.
All of a type take turns in one process. Data is random and stays the same, so nothing waits for an
input. Reading the loss after each step waits for the GPU, as `fit` does in TensorFlow. With
`--execution 10` that happens after ten steps, as `fit` does with `steps_per_execution=10`.
"""

import argparse
import json
import os
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras_sparse as ks
from benchmarks import options, report, structures, turns
from benchmarks.processes import in_process
from benchmarks.step_contenders import MODELS, Case, Training
from keras_sparse.compute.choice import WANTED

COMMAND = "python -m benchmarks.gpu_step"
STEPS = 10  # in a turn
KINDS = ("dense", "open", "closed")
HOW = {"TF": False, "XLA": True}  # is a step compiled by XLA?
POLICIES = ["float32", "mixed_bfloat16"]


def main() -> None:
    """A process for each case; then prints and writes."""
    arguments = _arguments()
    records = []
    for case in planned(arguments):
        records.append(in_process(measure, case, arguments))
        print(json.dumps(records[-1]), flush=True)
    measured = report.circumstances(report.gpu())
    text = report.header("A whole training step on a GPU", report.as_typed(COMMAND), measured)
    report.publish(arguments.output, text + table(records))


def planned(arguments: argparse.Namespace) -> list[Case]:
    """All cases, model by model."""
    return [
        Case(model, arguments.batch, density, 1, False, structure, policy)
        for model in arguments.models
        for policy in arguments.policies
        for structure in arguments.structures
        for density in arguments.densities
    ]


def measure(case: Case, arguments: argparse.Namespace) -> dict[str, Any]:
    """Milliseconds of a step of each contender; to be called in a fresh process."""
    options: dict[str, Any] = {"policy": case.policy, "execution": arguments.execution}
    options["implementation"] = arguments.implementation
    dense = {
        f"dense, {name}": _steps(Training(case, False, HOW[name], **options))
        for name in arguments.how
    }
    options["growth_batch"] = arguments.growth_batch
    sparse = {name: Training(case, True, HOW[name], **options) for name in arguments.how}
    contenders = dense | {
        f"{window}, {name}": _steps(training, window == "open")
        for name, training in sparse.items()
        for window in ("open", "closed")
    }
    for contender in contenders.values():
        contender()
    timed = turns.take_turns(contenders, arguments.turns, time.perf_counter)
    seconds = {name: statistics.median(values) / STEPS for name, values in timed.items()}
    last = arguments.how[-1]
    sparse[last].open_window(True)
    step_seconds = arguments.execution * seconds[f"open, {last}"]
    update = sparse[last].update(step_seconds, time.perf_counter)
    return {
        "model": case.model,
        "batch": case.batch,
        "policy": case.policy,
        "structure": structures.name_of(case.structure),
        "density": case.density,
        "growth_batch": arguments.growth_batch,
        "milliseconds": {name: round(1e3 * value, 2) for name, value in seconds.items()},
        "update_milliseconds": round(1e3 * update, 1),
        "runs_as": _runs_as(sparse[last], case.batch),
    }


def _steps(training: Training, window_is_open: bool | None = None) -> Callable[[], None]:
    """Several steps, so that setting the window, as a training seldom does, does not count."""

    def steps() -> None:
        if window_is_open is not None:
            training.open_window(window_is_open)
        for _ in range(STEPS // training.execution):
            training.step()

    return steps


def _runs_as(sparse: Training, batch: int) -> dict[str, int]:
    """How many sparse layers run as what."""
    counts: dict[str, int] = {}
    for row in ks.summary(sparse.model, output="dict", batch=batch)["layers"]:
        what = str(row.get("runs_as", "")).split(":")[0]
        counts[what] = counts.get(what, 0) + 1
    return counts


def table(records: list[dict[str, Any]]) -> str:
    """Dense over sparse: the fastest dense contender in the same type over the faster of ours."""
    how = [name for name in HOW if f"dense, {name}" in records[0]["milliseconds"]]
    contenders = [f"{kind}, {name}" for kind in KINDS for name in how]
    columns = ["network, batch", "type", "masks", "density", *contenders]
    columns += ["window open", "closed"]
    rows = []
    for one in records:
        ms = one["milliseconds"]
        dense, opened, closed = (min(ms[f"{kind}, {name}"] for name in how) for kind in KINDS)
        rows.append(
            [
                f"{one['model']}, {one['batch']}",
                one["policy"],
                one["structure"],
                one["density"],
                *(ms[name] for name in contenders),
                f"{dense / opened:.2f}",
                f"{dense / closed:.2f}",
            ]
        )
    return report.table(columns, rows)


def _arguments() -> argparse.Namespace:
    parser = options.parser(__doc__)
    add = parser.add_argument
    add("--models", choices=MODELS, nargs="+", default=["WRN-28-10", "WRN-16-8", "VGG16-D"])
    add("--batch", type=int, default=128)
    add("--densities", type=float, nargs="+", default=[0.1, 0.05])
    default = [structures.structure("32x32-per-tap")]
    add("--structures", type=structures.structure, nargs="+", default=default, help="of masks")
    add("--policies", choices=POLICIES, nargs="+", default=POLICIES)
    add("--turns", type=int, default=7)
    add("--how", choices=HOW, nargs="+", default=list(HOW), help="by XLA or without it")
    add("--execution", type=int, choices=[1, 2, 5, 10], default=1, help="steps in one call")
    add("--implementation", choices=WANTED, default="auto", help="of sparse layers")
    add("--growth-batch", type=float, default=1.0, help="share of a batch in an open window")
    add("--output", type=Path, default=report.RESULTS / "gpu_step.md")
    return parser.parse_args()


if __name__ == "__main__":
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    os.environ.setdefault("TF_FORCE_GPU_ALLOW_GROWTH", "true")
    main()
