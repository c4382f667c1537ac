"""Checks without a TPU whether our train steps compile for TPUs.

    python -m benchmarks.tpu_check
    # the other models keep their earlier results
    python -m benchmarks.tpu_check --models LeNet-5

For each model, kind of layer and TPU, Keras' own train step is traced under a TPUStrategy, lowered
by TensorFlow and compiled by libtpu. Models that TPUs refuse follow, to prove that it can fail.
Needs g++, jax and libtpu: pip install -e '.[tpu-aot]'.
"""

import dataclasses
import importlib.metadata
import json
from collections.abc import Callable, Sequence

from benchmarks import options, report
from benchmarks.load_file import load_file

COMMAND = "python -m benchmarks.tpu_check"
PACKAGES = ("jaxlib", "libtpu")
SMALL = (
    *(("v4:2x2x1", 1), ("v4:2x2x1", 4), ("v4:2x2x2", 8)),
    *(("v5e:2x2", 1), ("v5e:2x2", 4), ("v5e:2x4", 8)),
    *(("v6e:2x2", 1), ("v6e:2x2", 4), ("v6e:2x4", 8)),
)
# A row as soon as it is there: ResNet-50 takes minutes to compile.
ROWS = report.RESULTS / "tpu_check.jsonl"
COLUMNS = (
    *("model", "layers", "TPUs", "cores", "batch", "ops", "HLO kB", "compiles", "seconds"),
    *("GFLOP", "MiB", "temporary", "all-reduces"),
)
REFUSED_COLUMNS = ("layer", "traced", "cluster", "lowered", "compiles")
NOTE = """\
Per core and step: floating point operations, memory in all and for temporary values, sums over all
cores. Seconds are those that libtpu takes to compile beside whatever else runs on this machine: an
upper bound. Batches are those of all cores together. SparseMomentum around SGD with Nesterov
momentum, density 0.1.
"""
BAD_NOTE = """\
The clustering passes and tf2xla refuse what TensorFlow cannot compile. tf2xla lets the last two
pass, and libtpu refuses them.
"""
MEGA, GIGA = 2**20, 1e9


@dataclasses.dataclass(frozen=True)
class Case:
    """A model on TPUs.

    Args:
        name: of the model.
        make: gives a model, not compiled.
        batch: examples of all replicas together.
        machines: (topology, replicas), each a row.
    """

    name: str
    make: Callable[[], "keras.Model"]
    batch: int
    machines: Sequence[tuple[str, int]]


def main() -> None:
    """Measures, prints every row, and writes."""
    parser = options.parser(__doc__, "tpu_check.md")
    names = [case.name for case in CASES]
    earlier = "none: those of earlier runs"
    parser.add_argument("--models", nargs="*", choices=names, default=names, help=earlier)
    arguments = parser.parse_args()
    for case in CASES:
        for layers in ("stock", "sparse") if case.name in arguments.models else ():
            for topology, replicas in case.machines:
                keep(row(case, layers, topology, replicas))
    measured = {**report.circumstances(), "compiler": compilers()}
    text = report.header("Train steps on TPU, without one", COMMAND, measured)
    text += f"{NOTE}\n{report.table(COLUMNS, kept())}\n## What TPUs refuse\n\n{BAD_NOTE}\n"
    text += report.table(REFUSED_COLUMNS, [refused(name) for name in (*BAD, *REFUSED)])
    report.publish(arguments.output, text)


def compilers() -> str:
    """Versions of what compiles for TPUs."""
    return ", ".join(f"{name} {importlib.metadata.version(name)}" for name in PACKAGES)


def keep(new: Sequence[object]) -> None:
    """Writes a row down, in the place of an older one of the same model, layers, TPUs and cores."""
    print(*new, flush=True)
    rows = [old for old in kept() if old[:4] != list(new)[:4]]
    ROWS.write_text("".join(json.dumps(one) + "\n" for one in [*rows, new]))


def kept() -> list[list[object]]:
    """All rows that are written down, model by model."""
    rows = [json.loads(line) for line in ROWS.read_text().splitlines()] if ROWS.exists() else []
    names = [case.name for case in CASES]
    return sorted(rows, key=lambda one: names.index(one[0]))


def row(case: Case, layers: str, topology: str, replicas: int) -> tuple[object, ...]:
    """Traces, lowers and compiles one model."""
    with tpu_check.strategy(replicas).scope():
        model = ks.sparsify(case.make()) if layers == "sparse" else case.make()
        optimizer = ks.SparseMomentum(keras.optimizers.SGD(0.1, momentum=0.9, nesterov=True), 0.1)
        classifier.compiled(model, optimizer)
    answers = tpu_check.check(model, tpu_check.batch_of(model, case.batch), topology)
    print(answers.said, flush=True)
    found, compiled = answers.lowered, answers.compiled
    size = [answers.ops, f"{len(found.hlo) / 1000:.0f}"] if found else [answers.ops, "no"]
    figures = ["-"] * 5
    if compiled and compiled.code == 0:
        memory = [f"{count / MEGA:.1f}" for count in (compiled.memory, compiled.temporary)]
        speed = [f"{compiled.seconds:.0f}", f"{compiled.flops / GIGA:.2f}"]
        figures = [*speed, *memory, str(compiled.all_reduces)]
    outcome = ("yes" if compiled.code == 0 else compiled.outcome) if compiled else "-"
    return (case.name, layers, topology, replicas, case.batch, *size, outcome, *figures)


def refused(name: str) -> tuple[str, ...]:
    """What each stage says of a layer that does not belong on a TPU."""
    make, _ = {**BAD, **REFUSED}[name]
    with tpu_check.strategy(4).scope():
        model = make()
    step = trace(model, tpu_check.batch_of(model, 32))

    def clustered() -> None:
        check_ops(step.function.graph)
        cluster(step.function, step.replicas)

    answers = [answer(clustered), answer(lambda: lower(cut_out(step)))]
    compiles = "-"
    if answers[-1] == "yes":
        compiled = compile_for(lower(cut_out(step)).hlo, "v5e:2x2", 4)
        compiles = "yes"
        if compiled.code:
            compiles = f"{compiled.outcome}: {compiled.why.split(':')[0]}"
    return name, "yes", *answers, compiles


def answer(ask: Callable[[], object]) -> str:
    """ "yes" or "no"."""
    try:
        ask()
    except tpu_check.NotForTpuError:
        return "no"
    return "yes"


if __name__ == "__main__":
    import keras

    import keras_sparse as ks
    from keras_sparse import tpu_check

    tpu_check.load()  # before anything else
    networks = load_file(report.ROOT / "tests" / "tpu" / "tpu_networks.py")
    BAD, REFUSED = networks.BAD, networks.REFUSED

    from benchmarks import classifier
    from examples.models import build, wide_resnet
    from keras_sparse.tpu_check.cluster import check_ops, cluster
    from keras_sparse.tpu_check.compile import compile_for
    from keras_sparse.tpu_check.lower import lower
    from keras_sparse.tpu_check.replica import cut_out
    from keras_sparse.tpu_check.train_step import trace

    def resnet_50() -> keras.Model:
        return keras.applications.ResNet50(weights=None, classifier_activation=None)

    some = (("v4:2x2x1", 4), ("v5e:2x2", 4), ("v6e:2x4", 8))
    CASES = [
        Case("LeNet-5", lambda: build("lenet-5"), 128, SMALL),
        Case("WRN-16-8", lambda: wide_resnet(16, 8), 128, some),
        Case("ResNet-50", resnet_50, 256, (("v5e:2x2", 4),)),
    ]
    main()
