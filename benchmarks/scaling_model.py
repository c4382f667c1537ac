"""Formulas for the bytes and seconds of mask updates, masks and gradients past one machine."""

import math
from dataclasses import dataclass

READ_BYTES = 15  # a weight, from device to host in one update: mask (1) three times, momentum (4) twice, weight (4) once
MASK_BYTES = 1  # a weight, in memory, in checkpoints, and from host to each device
GRADIENT_BYTES = 4  # float32, as the variables are, under mixed_bfloat16 too
BISECTION_STEPS = 31  # bits of a non-negative float32
BISECTION_BYTES = 5  # a weight and pass: score and mask
SELECTIONS = 2  # an update looks for two thresholds: what to prune, what to grow
FLOPS_PER_USE = 6  # a weight that is used once in the forward pass: a multiplication and an addition in each of three passes


@dataclass(frozen=True)
class Link:
    """Between replicas, or between hosts."""

    name: str
    bytes_per_second: float  # that one participant can send while it receives as much
    latency: float  # seconds a hop


@dataclass(frozen=True)
class HostCosts:
    """Seconds a weight, on one core."""

    read: float  # copies out of TensorFlow variables
    score: float
    select: float
    write: float  # masks into variables, weight <- weight * mask
    rest: float  # of a whole update: fresh memory for what is in between, Python
    pack: float  # masks to bits
    unpack: float

    @property
    def decide(self) -> float:
        return self.read + self.score + self.select + self.rest

    @property
    def update(self) -> float:
        return self.decide + self.write


@dataclass(frozen=True)
class Machine:
    """What cannot be measured on a CPU; each is an option of ``scaling.py``."""

    flops: float = 150e12  # sustained by one replica, in operations a second
    memory: float = 2.765e12  # of one replica, in bytes a second (TPU v5p)
    host_link: float = 16e9  # between a host and its devices, in bytes a second
    replicas_per_host: int = 8
    cores: int = 16  # of a host that could decide layers side by side
    uses: float = 20_480  # of each weight in a step of one replica: 128 images of ResNet-50, or as many tokens of a transformer


# --- gradients


def all_reduce_bytes(values: float, replicas: int) -> float:
    """What one replica sends in a ring: twice all but its own part."""
    return 2 * (replicas - 1) / replicas * values * GRADIENT_BYTES


def all_reduce_seconds(values: float, replicas: int, link: Link) -> float:
    return (
        all_reduce_bytes(values, replicas) / link.bytes_per_second
        + 2 * (replicas - 1) * link.latency
    )


def gradient_values(weights: float, density: float, window: int, every: int) -> float:
    """Mean number of gradient values a step that need be sent: all within the growth window, else those of active weights.

    Every replica knows the masks, so the values go without their places.
    """
    open_part = min(window, every) / every
    return weights * (open_part + (1 - open_part) * density)


# --- a step


def step_seconds(
    weights: float, replicas: int, link: Link, machine: Machine, whole_batch: bool = False
) -> float:
    """The longer one of computing and of the all-reduce, which overlap.

    Args:
        weights: of the whole network; each replica has all.
        replicas: that share the batch.
        link: between them.
        machine: its ``uses`` are those of one replica,
        whole_batch: or those of all replicas together: more replicas compute less each.
    """
    uses = machine.uses / replicas if whole_batch else machine.uses
    return max(
        FLOPS_PER_USE * weights * uses / machine.flops, all_reduce_seconds(weights, replicas, link)
    )


# --- an update, in six ways


def hosts_of(replicas: int, machine: Machine) -> int:
    return math.ceil(replicas / machine.replicas_per_host)


def each_decides(weights: float, replicas: int, costs: HostCosts, machine: Machine) -> float:
    """Every host decides everything by itself, as with one process for each: nothing is sent between hosts."""
    return (
        weights * costs.decide + _read(weights, machine) + _write(weights, replicas, costs, machine)
    )


def one_process_assigns(
    weights: float, replicas: int, costs: HostCosts, machine: Machine, link: Link
) -> float:
    """One process drives all hosts, as under TPUStrategy: it assigns to each replica a mask of bytes, far ones through its own link."""
    far = max(0, replicas - machine.replicas_per_host)
    return (
        each_decides(weights, replicas, costs, machine)
        + far * MASK_BYTES * weights / link.bytes_per_second
    )


def each_decides_on_cores(
    weights: float, replicas: int, costs: HostCosts, machine: Machine
) -> float:
    """The same, but each core of a host decides some of the layers; writing stays with one. Memory may be too slow for so many."""
    return (
        weights * costs.decide / machine.cores
        + _read(weights, machine)
        + _write(weights, replicas, costs, machine)
    )


def one_decides(
    weights: float, replicas: int, costs: HostCosts, machine: Machine, link: Link
) -> float:
    """One host decides and sends bits along a chain of hosts, in small pieces, so that all receive at nearly the same time."""
    hosts = hosts_of(replicas, machine)
    if hosts == 1:
        return each_decides(weights, replicas, costs, machine)
    deciding = weights * (costs.decide + costs.pack) + _read(weights, machine)
    sending = packed_bytes(weights) / link.bytes_per_second + (hosts - 1) * link.latency
    return deciding + sending + weights * costs.unpack + _write(weights, replicas, costs, machine)


def sharded_by_layer(
    weights: float,
    replicas: int,
    costs: HostCosts,
    machine: Machine,
    link: Link,
    largest_part: float | None = None,
) -> float:
    """Each host decides some of the layers; two all-gathers: of three numbers a layer for the budget, then of bits.

    Args:
        weights: of the whole network.
        replicas: in all.
        costs: of a host.
        machine: with so many replicas a host.
        link: between hosts.
        largest_part: weights of the host that has most; None: layers divide evenly.
    """
    hosts = hosts_of(replicas, machine)
    if hosts == 1:
        return each_decides(weights, replicas, costs, machine)
    own = weights / hosts if largest_part is None else largest_part
    deciding = own * (costs.decide + costs.pack) + _read(own, machine)
    others = (hosts - 1) / hosts * weights
    sending = packed_bytes(others) / link.bytes_per_second + 2 * (hosts - 1) * link.latency
    return deciding + sending + others * costs.unpack + _write(weights, replicas, costs, machine)


def bisected_on_device(weights: float, machine: Machine) -> float:
    """Every replica finds the thresholds by halving, in the graph; then two passes make the mask and the weights."""
    passes = SELECTIONS * BISECTION_STEPS + 2
    return passes * BISECTION_BYTES * weights / machine.memory


def _read(weights: float, machine: Machine) -> float:
    return weights * READ_BYTES / machine.host_link


def _write(weights: float, replicas: int, costs: HostCosts, machine: Machine) -> float:
    devices = min(replicas, machine.replicas_per_host)
    return weights * (costs.write + devices * MASK_BYTES / machine.host_link)


# --- what it comes to


def packed_bytes(weights: float) -> float:
    return weights / 8


def share_of_training(update: float, step: float, every: int) -> float:
    """Part of the time that goes into updates, in [0, 1], with one of them every so many steps."""
    return update / (update + every * step)


def steps_between_updates(update: float, step: float, share: float) -> int:
    """Fewest steps from update to update with which updates take at most this share of the time."""
    # 1e-9: 99.00000000000001 steps are 99.
    return max(1, math.ceil(update * (1 - share) / (share * step) - 1e-9))
