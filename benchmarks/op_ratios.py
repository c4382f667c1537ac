"""Dense time over sparse time of one layer: what conv_ops.py compares takes turns."""

import dataclasses
import statistics
from pathlib import Path

import numpy as np

from benchmarks import sparseprop_peer, turns
from benchmarks.op_contenders import KINDS, Contender, Layer, Operands, dense, sparse
from keras_sparse.rules.structure import Structure

HOPELESS = 1.5  # XLA that takes this many times the other time at first is not measured further


@dataclasses.dataclass(frozen=True)
class Work:
    """What one process measures."""

    threads: int
    turns: int
    densities: tuple[float, ...]
    masks: Path | None
    peer: bool
    quick: bool
    groups: tuple[str, ...]  # of layers
    dtype: str
    structure: Structure  # of the masks
    batches: tuple[int, ...]  # of the predictions


def compare(
    work: Work, layer: Layer, masks: list[np.ndarray], forward_only: bool
) -> tuple[float, str, list[tuple[float, ...]]]:
    """Dense seconds, which dense it was, and for each mask the ratios: ours and the peer's."""
    clock = turns.clock_for(work.threads)
    contenders = contenders_of(work, layer, masks, forward_only)
    first = turns.take_turns({name: contenders[name] for name in ("TF", "XLA")}, 2, clock)
    if min(first["XLA"]) > HOPELESS * min(first["TF"]):
        del contenders["XLA"]
    seconds = turns.take_turns(contenders, work.turns, clock)
    kind = min(("TF", "XLA"), key=lambda name: statistics.median(seconds.get(name, [np.inf])))

    def best(start: str) -> float:
        names = [name for name in seconds if name.startswith(start)]
        return max(turns.ratio(seconds[kind], seconds[name]) for name in names)

    pairs = [tuple(best(f"{i} {who}") for who in _who(work)) for i in range(len(masks))]
    return statistics.median(seconds[kind]), kind, pairs


def contenders_of(
    work: Work, layer: Layer, masks: list[np.ndarray], forward_only: bool
) -> dict[str, Contender]:
    """The dense products, and for each mask the sparse ones, warmed up."""
    operands = Operands(layer, work.dtype)
    found = {name: dense(operands, forward_only, xla) for name, xla in KINDS.items()}
    for i, mask in enumerate(masks):
        found[f"{i} sparse"] = sparse(operands, mask, forward_only)
        if work.peer:
            peers = sparseprop_peer.contenders(operands, mask, work.threads)
            found |= {f"{i} peer {name}": step for name, step in peers.items()}
    for contender in found.values():
        contender()
    return found


def _who(work: Work) -> tuple[str, ...]:
    return ("sparse", "peer") if work.peer else ("sparse",)
