"""The density of the masks, epoch by epoch: in Keras' logs, and as a history of each weight."""

import warnings
from collections.abc import Iterator, Sequence
from typing import Any

from keras_sparse.training.sparse_momentum import SparseMomentum

DENSITY, EXPLORATION_RATE = "density", "exploration_rate"  # what is logged of all masked weights


class DensityLog:
    """Reads each mask once an epoch, and logs what it sees.

    Args:
        log_layers: True: the density of each masked weight joins the logs.

    Attributes:
        history: ``{"step": [...], path of each weight: [its density, ...], "exploration_rate":
            [...]}``, one entry an epoch.
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
        layers = {name: active / size for name, size, active, _ in counts}
        total = sum(size for _, size, _, _ in counts)
        density = sum(active for _, _, active, _ in counts) / total if total else 1.0
        rate = sum(ever for *_, ever in counts) / total if total else 1.0
        self.history.setdefault("step", []).append(optimizers[0].step())
        for path, value in {**layers, EXPLORATION_RATE: rate}.items():
            self.history.setdefault(path, []).append(value)
        if logs is None:
            return
        logs[self._key(DENSITY, logs)] = density
        logs[self._key(EXPLORATION_RATE, logs)] = rate
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


def _counts(optimizers: Sequence[SparseMomentum]) -> Iterator[tuple[str, int, int, int]]:
    """(name, size, active weights, weights ever active) of each masked weight."""
    for optimizer in optimizers:
        prefix = "" if len(optimizers) == 1 else f"{optimizer.name}/"
        for one in optimizer.masked_weights:
            yield f"{prefix}{one.name}", one.size, *one.counts()
