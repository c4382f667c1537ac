"""Dense and sparse phases in turn: the density of AC/DC, and the steps at which phases begin."""

import itertools
import math
from collections.abc import Sequence
from typing import Any

import keras

from keras_sparse.rules.density import check_density
from keras_sparse.rules.received import received
from keras_sparse.training.schedules import OverTraining

ROUNDING = 1e-9  # 3 * 0.1 is more than 0.3
ACDC_BORDERS = tuple(percent / 100 for percent in (*range(10, 75, 5), 75, 85))


@keras.saving.register_keras_serializable("keras_sparse")
class AlternatingOverTraining(OverTraining):
    """Density 1 and ``final`` in turn over the training, ``final`` in the last phase.

    It is the one schedule whose density rises: then all weights become active, those that were
    missing start at 0, and the momenta of the inner optimizer are reset.

    Args:
        final: density of the sparse phases, in (0, 1].
        borders: progress at which the phases begin, ascending, in [0, 1): the first is sparse, the
            next dense, and so on. An odd number, so that the last is sparse. Default: that of the
            AC/DC paper on ImageNet: dense until 0.1, then phases of 0.05, dense from 0.75 to 0.85.

    Raises:
        ValueError: borders that are not so.

    >>> density = AlternatingOverTraining(0.1, borders=(0.2, 0.4, 0.6))
    >>> [density(progress) for progress in (0.0, 0.2, 0.4, 0.6, 1.0)]
    [1.0, 0.1, 1.0, 0.1, 0.1]
    """

    def __init__(self, final: float, borders: Sequence[float] = ACDC_BORDERS) -> None:
        super().__init__(1.0, final)
        self.borders = _checked(borders)

    def __call__(self, progress: float) -> float:
        begun = sum(progress >= border - ROUNDING for border in self.borders)
        return self.final if begun % 2 else self.initial

    def first_steps(self, start: int, stop: int) -> list[int]:
        """The first optimizer step of each phase of a training from step ``start`` to ``stop``.

        >>> AlternatingOverTraining(0.1, borders=(0.2, 0.4, 0.6)).first_steps(0, 100)
        [0, 20, 40, 60]
        """
        steps = [math.ceil(border * (stop - start) - ROUNDING) for border in self.borders]
        return [start, *(start + step for step in steps)]

    def get_config(self) -> dict[str, Any]:
        return {"final": self.final, "borders": list(self.borders)}


def alternating(density: Any, borders: Sequence[float] | None) -> AlternatingOverTraining:
    """The schedule of AC/DC.

    Args:
        density: density of the sparse phases; or the schedule, which has borders of its own.
        borders: of the phases; None: those of the paper on ImageNet.

    Raises:
        ValueError: another schedule, or borders beside a schedule.
    """
    if not callable(density):
        check_density(density)
        return AlternatingOverTraining(density, ACDC_BORDERS if borders is None else borders)
    if not isinstance(density, AlternatingOverTraining):
        message = "`density` must be a number or an AlternatingOverTraining: others never rise"
        raise ValueError(f"{message}. {received(density=density)}")
    if borders is not None:
        raise ValueError(f"The schedule has borders of its own. {received(borders=borders)}")
    return density


def _checked(borders: Any) -> tuple[float, ...]:
    try:
        values = tuple(float(border) for border in borders)
    except (TypeError, ValueError):
        values = ()  # no sequence of numbers
    ascending = all(a < b for a, b in itertools.pairwise(values))
    if len(values) % 2 == 0 or not ascending or not 0.0 <= values[0] <= values[-1] < 1.0:
        rule = "an odd number of ascending values in [0, 1), shares of the training"
        raise ValueError(f"`borders` must be {rule}. {received(borders=borders)}")
    return values
