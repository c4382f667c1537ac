"""Warnings of a training whose masks do not change, or whose density is not the one asked for."""

import warnings

from keras_sparse.rules.update_times import UpdateTimes
from keras_sparse.training import final_density
from keras_sparse.training.epoch_plan import Epoch, FitLength, never_updates
from keras_sparse.training.final_density import FinalDensity
from keras_sparse.training.schedules import OverTraining
from keras_sparse.training.sparse_momentum import SparseMomentum

NEVER_UPDATES = (
    "The masks will not be updated in this training: it ends before the first update is due. "
    "Update more often with `UpdateMasks(every=...)`, or train longer."
)

MASKS_NOTHING = (
    "The optimizer masks no weight, so `density` has no effect: all kernels are frozen, by you or "
    "by LoRA. Unfreeze those to be sparse and compile with a new SparseMomentum, or compile with "
    "a Keras optimizer. Received: density={density}"
)


def warn_before(
    optimizer: SparseMomentum,
    every: str | int,
    times: UpdateTimes,
    fit: FitLength,
    epoch: Epoch,
    final: FinalDensity | None,
) -> None:
    """Warns where nothing has a mask, or the training ends before an update or a schedule does.

    Args:
        optimizer: whose masks are trained.
        every: how often updates were asked for.
        times: when they are due.
        fit: its length.
        epoch: the one that begins.
        final: density at the end of the training; None: it does not move, or is not known.
    """
    if optimizer.built and not optimizer.masked_variables:
        warnings.warn(MASKS_NOTHING.format(density=optimizer.density), stacklevel=3)
        return
    one_epoch = fit.epochs - epoch.number < 2
    follows = isinstance(optimizer.density, OverTraining)
    if final is None and epoch.stop == -1 and one_epoch and follows:
        text = final_density.UNKNOWN_LENGTH.format(density=optimizer.budget_density())
        warnings.warn(text, stacklevel=3)
    elif final is not None and final.later is not None:
        if not optimizer.warned_of_density:
            warnings.warn(final_density.not_within(final, epoch.stop), stacklevel=3)
    elif final is None and never_updates(times, optimizer.counter("last_update"), fit, epoch):
        received = f"every={every!r}, epochs={fit.epochs}, steps={fit.batches}"
        warnings.warn(f"{NEVER_UPDATES} Received: {received}", stacklevel=3)


def warn_after(optimizer: SparseMomentum, final: FinalDensity | None) -> None:
    """Warns where the model has more active weights than the density that was asked for.

    Args:
        optimizer: built, unless ``final`` is None.
        final: density at the end of the training; None: it did not move.
    """
    if final is None or optimizer.step() < optimizer.announced_stop:
        return
    asked, later = final.later or final.value, final.later is not None
    if optimizer.density_is_above(asked) and not (later and optimizer.warned_of_density):
        optimizer.warned_of_density = optimizer.warned_of_density or later
        density = optimizer.budget_density()
        stop = optimizer.counter("training_stop")
        text = final_density.not_reached(density, asked, optimizer.step(), stop, later)
        group = optimizer.structure.group_size
        if all(one.counts().active <= group(one.shape) for one in optimizer.trained_weights()):
            text = final_density.LEAST.format(density=density, asked=asked)
        warnings.warn(text, stacklevel=3)
