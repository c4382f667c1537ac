"""The density of the masks, epoch by epoch: in Keras' logs, and as a history of each weight."""

import warnings
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from keras_sparse.training.sparse_momentum import SparseMomentum

# what is logged of all masked weights
DENSITY, EXPLORATION_RATE = "density", "exploration_rate"
MULTIPLY_ADDS_DENSITY = "multiply_adds_density"  # where it is what was asked for


class DensityLog:
    """Reads each mask once an epoch, and logs what it sees.

    Args:
        log_layers: True: the density of each masked weight joins the logs.

    Attributes:
        history: ``{"step": [...], path of each weight: [its density, ...], "exploration_rate":
            [...]}``, one entry an epoch. Where other weights are masked than before, it begins
            anew.
    """

    def __init__(self, log_layers: bool) -> None:
        self.log_layers = log_layers
        self.history: dict[str, list[float]] = {}
        self.suffix = ""  # of what is logged, where there are several callbacks
        self._model: Any = None
        self._logged_epoch: int | None = None
        self._warned_of: set[str] = set()  # metrics

    def begin(self, model: Any) -> None:
        """A training begins; another model begins a new history."""
        if self._model is not model:
            self._model, self.history = model, {}
        self._logged_epoch = None

    def end_epoch(self) -> None:
        self._logged_epoch = None

    def is_logged(self, epoch: int) -> bool:
        return self._logged_epoch == epoch

    def log(self, epoch: int, logs: Any, optimizers: Sequence[SparseMomentum]) -> None:
        """Adds the densities of an epoch to its logs, and to the history.

        Args:
            epoch: its number.
            logs: Keras' dictionary, or None.
            optimizers: built; one, or several whose weights are named after them.
        """
        self._logged_epoch = epoch
        counts = list(_counts(optimizers))
        layers = {one.name: one.active / one.size for one in counts}
        total = sum(one.size for one in counts)
        density = sum(one.active for one in counts) / total if total else 1.0
        rate = sum(one.ever for one in counts) / total if total else 1.0
        seen: dict[str, float] = {"step": optimizers[0].step(), **layers, EXPLORATION_RATE: rate}
        if self.history.keys() != seen.keys():
            self.history = {name: [] for name in seen}
        for name, value in seen.items():
            self.history[name].append(value)
        if logs is None:
            return
        logs[self._key(DENSITY, logs)] = density
        logs[self._key(EXPLORATION_RATE, logs)] = rate
        if any(optimizer.budget != "weights" for optimizer in optimizers):
            dense = sum(one.size * one.cost for one in counts)
            spent = sum(one.active * one.cost for one in counts)
            logs[self._key(MULTIPLY_ADDS_DENSITY, logs)] = spent / dense if dense else 1.0
        if self.log_layers:
            logs.update({f"density/{path}": value for path, value in layers.items()})

    def _key(self, name: str, logs: Any) -> str:
        """The name in the logs; another one where a metric has it."""
        key = f"{name}{self.suffix}"
        if key not in logs:
            return key
        if name not in self._warned_of:
            self._warned_of.add(name)
            what = f'the masks\' {name.replace("_", " ")} is logged as "mask_{name}".'
            warnings.warn(f'There is a metric called "{name}": {what}', stacklevel=2)
        return f"mask_{name}"


class _Counts(NamedTuple):
    """Of a masked weight: its elements, those active, those ever active; and what one costs."""

    name: str
    size: int
    active: int
    ever: int
    cost: int


def _counts(optimizers: Sequence[SparseMomentum]) -> Iterator[_Counts]:
    for optimizer in optimizers:
        prefix = "" if len(optimizers) == 1 else f"{optimizer.name}/"
        for one in optimizer.masked_weights:
            yield _Counts(f"{prefix}{one.name}", one.size, *one.counts(), one.cost)
