"""Tables of the model for networks and clusters that are not here; they contain no measurements."""

import dataclasses
from collections.abc import Sequence

import report
import scaling_model as model
from scaling_model import HostCosts, Link, Machine

WEIGHTS = (10**6, 10**7, 10**8, 10**9, 10**10)
REPLICAS = (1, 8, 64, 256, 1000)
NAMES = {10**6: "1 M", 10**7: "10 M", 10**8: "100 M", 10**9: "1 G", 10**10: "10 G"}
WAYS = (
    "each host decides (today)",
    "one process for all (today)",
    "each, on all cores",
    "one decides, sends bits",
    "sharded by layer",
    "bisected on the device",
)


@dataclasses.dataclass(frozen=True)
class Scenario:
    """What the tables take for granted."""

    costs: HostCosts
    machine: Machine
    links: Sequence[Link]  # the first is that between hosts, the last that between replicas
    density: float
    every: int  # steps between updates
    window: int  # steps before an update in which missing weights get gradients


def checkpoints() -> str:
    """Masks take a byte a weight; weights and momenta, float32, take eight."""
    rows = [
        (NAMES[n], size(8 * n), size(model.MASK_BYTES * n), size(model.packed_bytes(n)))
        for n in WEIGHTS
    ]
    return report.table(
        ("weights", "weights and momentum", "masks", "masks, if they were bits"), rows
    )


def all_reduce(scenario: Scenario) -> str:
    """Bytes and seconds of one step's gradients, for the most replicas; then how they depend on replicas."""
    most = REPLICAS[-1]
    columns = (
        "weights",
        "replicas",
        "sent by each",
        *(link.name for link in scenario.links),
        "if only what is needed were sent",
    )
    rows = []
    for weights, replicas in [*((n, most) for n in WEIGHTS), *((10**8, r) for r in REPLICAS[1:-1])]:
        needed = model.gradient_values(weights, scenario.density, scenario.window, scenario.every)
        times = [
            seconds(model.all_reduce_seconds(weights, replicas, link)) for link in scenario.links
        ]
        sent = [size(model.all_reduce_bytes(values, replicas)) for values in (weights, needed)]
        rows.append((NAMES[weights], f"{replicas:,}", sent[0], *times, sent[1]))
    return report.table(columns, rows)


def shares(scenario: Scenario, whole_batch: bool) -> str:
    """Per cent of the training that updates take as they are today."""
    columns = ("weights", *(f"{replicas:,}" for replicas in REPLICAS))
    return report.table(
        columns,
        [
            (NAMES[n], *(_share(scenario, n, replicas, whole_batch) for replicas in REPLICAS))
            for n in WEIGHTS
        ],
    )


def ways(scenario: Scenario, replicas: int) -> str:
    """Seconds of an update in each of the ways."""
    rows = [
        (NAMES[n], *(seconds(update) for update in updates(scenario, n, replicas))) for n in WEIGHTS
    ]
    return report.table((f"{replicas:,} replicas", *WAYS), rows)


def spacing(scenario: Scenario, weights: int, share: float, whole_batch: bool) -> str:
    """Fewest steps between updates that keep them below this share of the time."""
    rows = []
    for replicas in REPLICAS:
        step = step_seconds(scenario, weights, replicas, whole_batch)
        counts = [
            model.steps_between_updates(update, step, share)
            for update in updates(scenario, weights, replicas)
        ]
        rows.append((f"{replicas:,}", seconds(step), *(f"{count:,}" for count in counts)))
    return report.table(("replicas", "a step", *WAYS), rows)


def updates(scenario: Scenario, weights: int, replicas: int) -> list[float]:
    """Seconds of an update in each of the ways."""
    costs, machine, link = scenario.costs, scenario.machine, scenario.links[0]
    return [
        model.each_decides(weights, replicas, costs, machine),
        model.one_process_assigns(weights, replicas, costs, machine, link),
        model.each_decides_on_cores(weights, replicas, costs, machine),
        model.one_decides(weights, replicas, costs, machine, link),
        model.sharded_by_layer(weights, replicas, costs, machine, link),
        model.bisected_on_device(weights, machine),
    ]


def step_seconds(scenario: Scenario, weights: int, replicas: int, whole_batch: bool) -> float:
    """With one batch for all, it is what eight replicas, or the one host, would take in the other case."""
    machine = scenario.machine
    if whole_batch:
        machine = dataclasses.replace(machine, uses=machine.uses * machine.replicas_per_host)
    return model.step_seconds(weights, replicas, scenario.links[-1], machine, whole_batch)


def _share(scenario: Scenario, weights: int, replicas: int, whole_batch: bool) -> str:
    update = model.each_decides(weights, replicas, scenario.costs, scenario.machine)
    return f"{model.share_of_training(update, step_seconds(scenario, weights, replicas, whole_batch), scenario.every):.1%}"


def size(count: float) -> str:
    """Bytes in words."""
    return _in_units(count, (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)))


def seconds(time: float) -> str:
    """A time in words."""
    return _in_units(time, (("s", 1.0), ("ms", 1e-3), ("us", 1e-6)))


def _in_units(value: float, units: Sequence[tuple[str, float]]) -> str:
    name, unit = next((pair for pair in units if value >= pair[1]), units[-1])
    return f"{value / unit:.3g} {name}" if value / unit < 1000 else f"{value / unit:,.0f} {name}"
