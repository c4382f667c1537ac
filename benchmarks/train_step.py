"""Times a whole sparse training step against dense Keras, and measures its memory.

    # WRN-16-8 and VGG16-D, batch 64 and 128, density 0.05
    python -m benchmarks.train_step
    # single weights beside blocks, also with the densities that a training gives the layers
    python -m benchmarks.train_step --structures weights 4x4-per-tap --trained
    # also with the gradients of missing weights from a half and from a quarter of the batch
    python -m benchmarks.train_step --growth-batches 0.5 0.25
    # also with sparse models in mixed_bfloat16
    python -m benchmarks.train_step --policies float32 mixed_bfloat16
    # with Adam in place of SGD, in all models
    python -m benchmarks.train_step --optimizer adam
    # on a processor with AVX2 alone, where dense bfloat16 steps take minutes
    python -m benchmarks.train_step --no-bfloat16
    # VGG16-D at batch 64, few turns, without XLA
    python -m benchmarks.train_step --quick

Each case has its own process, where contenders take turns: dense steps, the sparse step with the
growth window open (dense weight gradients) and closed, and mask updates. `step_tables.py` computes
the speed-up of a training from these.
"""

import argparse
import os
import statistics
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks import options, report, step_tables, structures, turns
from benchmarks.processes import in_process
from benchmarks.step_contenders import MODELS, OPTIMIZERS, Case, Training, peak_memory, windowed
from benchmarks.step_parts import parts_of
from benchmarks.step_tables import Result

COMMAND = "python -m benchmarks.train_step"
UPDATES = 3
HOPELESS = 1.5  # XLA that takes this many times the other time at first is not measured further
BFLOAT16 = {"policy": "mixed_bfloat16"}
FUSED = {"fused_normalization": True}
DENSE: dict[str, dict[str, Any]] = {
    "float32": {},
    "fused": FUSED,
    "bfloat16": BFLOAT16,
    "bfloat16, fused": BFLOAT16 | FUSED,
}


def main() -> None:
    """A process a case and a contender's memory, one after the other; then prints and writes."""
    arguments = _arguments()
    count = 3 if arguments.quick else arguments.turns
    results, batches, kinds = [], arguments.growth_batches, _kinds(arguments)
    for case in planned(arguments):
        dense, sparse = (in_process(peak_memory, case, kind) for kind in (False, True))
        results.append(in_process(measure, case, count, kinds, (dense, sparse), batches))
        print(step_tables.seconds_table(results[-1:]), flush=True)
    text = report.header("A whole training step, dense and sparse", report.as_typed(COMMAND))
    text += step_tables.text(results, arguments.windows)
    report.publish(arguments.output, text)


def planned(arguments: argparse.Namespace) -> list[Case]:
    """All cases, model by model."""
    models, batches = arguments.models, arguments.batches
    if arguments.quick:
        models, batches = ["VGG16-D"], [64]
    common = (arguments.density, arguments.threads)
    return [
        Case(model, batch, *common, trained, structure, policy, arguments.optimizer)
        for model in models
        for batch in batches
        for structure in arguments.structures
        for policy in arguments.policies
        for trained in ((False, True) if arguments.trained else (False,))
    ]


def measure(
    case: Case, count: int, kinds: list[str], memory: tuple[float, float], growth: list[float]
) -> Result:
    """Times one case, and these kinds of dense steps; to be called in a fresh process."""
    turns.limit_threads(case.threads)
    clock = turns.clock_for(case.threads)
    dense = {
        name: Training(case, sparse=False, **DENSE[name]).step for name in kinds if name in DENSE
    }
    sparse = Training(case, sparse=True, policy=case.policy)
    contenders = dense | {"open": windowed(sparse, True), "closed": windowed(sparse, False)}
    for share in growth:
        of_part = Training(case, sparse=True, policy=case.policy, growth_batch=share)
        contenders[step_tables.opened(share)] = windowed(of_part, True)
    for contender in contenders.values():
        contender()
    if "XLA" in kinds:
        contenders |= _worthwhile_xla(case, dense["float32"], clock)
    timed = turns.take_turns(contenders, count, clock)
    seconds = {name: statistics.median(values) for name, values in timed.items()}
    sparse.open_window(True)
    update = statistics.median(sparse.update(seconds["open"], clock) for _ in range(UPDATES))
    profiled = {"dense": "float32", "window open": "open", "window closed": "closed"}
    parts = {title: parts_of(contenders[name], seconds[name]) for title, name in profiled.items()}
    return Result(case, seconds, update, memory, parts)


def _worthwhile_xla(
    case: Case, dense: Callable[[], None], clock: turns.Clock
) -> dict[str, Callable[[], None]]:
    """The dense step with XLA, unless it is out of the question."""
    jitted = Training(case, sparse=False, jit_compile=True)
    first = turns.take_turns({"TF": dense, "XLA": jitted.step}, 2, clock)
    return {} if min(first["XLA"]) > HOPELESS * min(first["TF"]) else {"XLA": jitted.step}


def _kinds(arguments: argparse.Namespace) -> list[str]:
    """The dense contenders that were not left out."""
    kinds = [name for name in DENSE if not (arguments.no_bfloat16 and "bfloat16" in name)]
    return kinds if arguments.quick or arguments.no_xla else [*kinds, "XLA"]


def _arguments() -> argparse.Namespace:
    parser = options.parser(__doc__)
    add = parser.add_argument
    default = [structures.structure("weights")]
    add("--models", choices=MODELS, nargs="+", default=["WRN-16-8", "VGG16-D"])
    add("--batches", type=int, nargs="+", default=[64, 128])
    add("--density", type=float, default=0.05)
    add("--structures", type=structures.structure, nargs="+", default=default, help="of masks")
    policies = ["float32", "mixed_bfloat16"]
    add("--policies", choices=policies, nargs="+", default=policies[:1], help="of sparse models")
    add("--optimizer", choices=OPTIMIZERS, default="sgd")
    add("--windows", type=int, nargs="+", default=[100, 50, 25, 10], help="steps before an update")
    batches = "shares of the batch that missing weights take their gradients from, beside 1"
    add("--growth-batches", type=float, nargs="*", default=[], help=batches)
    add("--threads", type=int, default=2)
    add("--trained", action="store_true", help="also with the densities of trained_densities.json")
    add("--turns", type=int, default=7)
    add("--quick", action="store_true", help="VGG16-D at batch 64, three turns, without XLA")
    add("--no-xla", action="store_true", help="leaves out the dense step with XLA")
    minutes = (
        "leaves out dense steps in mixed_bfloat16: minutes each on a processor with AVX2 alone"
    )
    add("--no-bfloat16", action="store_true", help=minutes)
    add("--output", type=Path, default=report.RESULTS / "train_step.md")
    return parser.parse_args()


if __name__ == "__main__":
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    main()
