"""The density at which a training ends, by its schedule; and why it may be another one."""

import dataclasses
import math

from keras_sparse.rules import density as densities
from keras_sparse.training.schedules import OverTraining, Schedule, value_at, value_at_step
from keras_sparse.training.tfmot_density import TfmotDensity

# samples of a schedule over a training: of Python's arithmetic, of a backend's
FINE, COARSE = 1000, 50
# trainings later: where both values are equal, the schedule ends with them
FAR = 1_000, 1_000_000
LESS = 1e-6  # densities nearer than this are equal


@dataclasses.dataclass(frozen=True)
class FinalDensity:
    """What a schedule asks for in a training.

    Args:
        value: density at the end of the training, in (0, 1].
        reached_at: step from which on the schedule asks for no more than that.
        later: density in (0, 1] that the schedule reaches only after the training, or None.
    """

    value: float
    reached_at: float
    later: float | None = None


def final_density(schedule: Schedule, start: int, stop: int) -> FinalDensity | None:
    """What this schedule asks for at the end of a training; None: a density that does not move.

    Args:
        schedule: of the density.
        start: step at which the training begins.
        stop: step at which it ends, after ``start``.

    Raises:
        ValueError: the schedule ends at a density outside of (0, 1].

    >>> from keras_sparse.training.schedules import CubicOverTraining
    >>> final_density(CubicOverTraining(0.1), 0, 100)
    FinalDensity(value=0.1, reached_at=75, later=None)
    >>> final_density(keras.optimizers.schedules.PolynomialDecay(1.0, 200, 0.5, power=1.0), 0, 100)
    FinalDensity(value=0.75, reached_at=100, later=0.5)
    """
    if isinstance(schedule, float):
        return None
    if isinstance(schedule, TfmotDensity):
        return _of_tfmot(schedule, stop)
    number = FINE if isinstance(schedule, OverTraining) else COARSE
    steps = [start + math.ceil((stop - start) * i / number) for i in range(number + 1)]
    values = [value_at(schedule, step, start, stop, "density") for step in steps]
    densities.check_density(values[-1])
    above = [i for i, value in enumerate(values) if value > values[-1] + LESS]
    reached_at = steps[above[-1] + 1] if above else start
    return FinalDensity(values[-1], reached_at, _later(schedule, values[-1], stop))


def _of_tfmot(schedule: TfmotDensity, stop: int) -> FinalDensity:
    """One that ends with the training, or before it, is kept.

    tfmot's own last pruning may be an earlier one.
    """
    ends_at = schedule.begin_step if math.isinf(schedule.end_step) else schedule.end_step
    if ends_at <= stop:
        return FinalDensity(schedule.final(), ends_at)
    last = schedule.last_due(stop - 1)
    value, later = schedule(last), schedule.final()
    return FinalDensity(value, max(last, 0), later if later < value - LESS else None)


def _later(schedule: Schedule, value: float, stop: int) -> float | None:
    """The density that a schedule of the step falls to after the training and keeps, or None."""
    if isinstance(schedule, OverTraining):
        return None
    try:
        near, far = [value_at_step(schedule, stop * times) for times in FAR]
    except Exception:  # a function of the user's need not know of steps after the training
        return None
    return far if near == far and 0 < far < value - LESS else None


def not_within(final: FinalDensity, stop: int) -> str:
    """The warning before a training whose schedule ends after it."""
    return (
        f"The density schedule is not over when this training ends, at step {stop}: the density "
        f"will be {final.value:.4g}, and the schedule falls to {final.later:.4g} only later. Let "
        f"the schedule end before step {stop}, train longer, or "
        f"pass CubicOverTraining({final.later:.4g}), which follows a training of any length."
    )


def not_reached(density: float, asked: float, step: int, stop: int, asked_later: bool) -> str:
    """The warning after a training that did not reach its final density."""
    if step < stop:
        why = f"the training was stopped at step {step} of {stop}"
    elif asked_later:
        why = "the density schedule reaches it only after this training"
    else:
        why = "weights of an earlier step were put back"
    return (
        f"The model is left with a density of {density:.4g} where {asked:.4g} was asked for: "
        f"{why}. Train on, or have "
        "EarlyStopping look only at epochs of the final density (`start_from_epoch=...`). "
        f"`optimizer.prune_to_density({asked:.4g})` prunes the model now; no training follows then."
    )


LEAST = (
    "The model is left with a density of {density:.4g} where {asked:.4g} was asked for: each "
    "masked layer keeps one weight, or one block. Choose smaller blocks, a higher density, or name "
    "layers in `dense`."
)
UNKNOWN_LENGTH = (
    "The density schedule follows the training, and the length of this training of one epoch is "
    "not known: the density will stay at {density:.4g}. Pass `steps_per_epoch` to `fit`, or call "
    "`optimizer.start_training(steps)` before it."
)
