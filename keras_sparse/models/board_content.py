"""What TensorBoard shows of the masks: at a mask update, and at the end of an epoch."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import keras
import numpy as np

from keras_sparse.compute.kernel_axes import input_axes, output_axes, owners_of_weights
from keras_sparse.conversion.sparsify import mask_of
from keras_sparse.models.event_files import EventFiles
from keras_sparse.rules import mask_bits
from keras_sparse.rules.channel_map import channel_map
from keras_sparse.tracing.multiply_adds import count_multiply_adds
from keras_sparse.training.masked_weight import MaskedWeight
from keras_sparse.training.momentum import check_momentum
from keras_sparse.training.selection import kernels
from keras_sparse.training.sparse_momentum import SparseMomentum

WEIGHTS = "The active weights, as the mask update found them."
MOMENTA = "The momenta of all weights; those of missing weights are current in a growth window."
MASK = (
    "Rows: input channels. Columns: output channels. The light of a pixel is the density of its "
    "weights: of all taps{}."
)
CELLS = ", and of {} x {} channels"


class BoardContent:
    """Reads masks, weights and momenta, and writes them.

    Args:
        model: the model that is trained, built. Its multiply-adds are counted now.
        optimizers: those whose masks are shown; where there are several, names begin with theirs.
        histograms: whether to write histograms.
        images: whether to write pictures.
    """

    def __init__(
        self,
        model: keras.Model,
        optimizers: Sequence[SparseMomentum],
        histograms: bool,
        images: bool,
    ) -> None:
        self._counted = count_multiply_adds(model)
        self._owners = owners_of_weights(model)
        self._several = len(optimizers) > 1
        self._histograms, self._images = histograms, images
        frozen = (variable for variable in kernels(model) if not variable.trainable)
        self._densities = {id(v): float(mask_of(v).mean()) for v in frozen}
        for optimizer in optimizers:
            self._note(optimizer, [_present(one) for one in optimizer.masked_weights])

    def write_update(
        self, files: EventFiles, optimizer: SparseMomentum, new: Mapping[int, np.ndarray]
    ) -> None:
        """Writes what an update makes of the masks.

        Args:
            files: at the optimizer's step.
            optimizer: a built SparseMomentum, before the update.
            new: {position of a masked weight: its mask after the update}; others keep theirs.
        """
        has_momenta = self._histograms and _keeps_momenta(optimizer)
        figures = []
        for one in optimizer.masked_weights:
            before, name = one.mask, self._prefix(optimizer) + one.name
            after = new.get(one.position, before)
            figures.append(_compared(one, before, after, optimizer.has_trained()))
            for what, value in (figures[-1].shares() | figures[-1].changes()).items():
                files.scalar(f"{what}/{name}", value)
            if self._histograms and one.is_trained:
                files.histogram(f"weights/{name}", one.value[before], WEIGHTS)
            if has_momenta and one.is_trained:
                files.histogram(f"momentum/{name}", one.view().momentum, MOMENTA)
            if self._images and one.is_trained:
                self._write_mask(files, f"mask/{name}", one, after)
        changes = _sum(figures).changes() | self._total(optimizer, figures)
        for what, value in changes.items():
            files.scalar(f"total/{self._prefix(optimizer)}{what}", value)

    def write_epoch(self, files: EventFiles, optimizer: SparseMomentum) -> None:
        """Writes the masks at the end of an epoch.

        Args:
            files: at the epoch.
            optimizer: a built SparseMomentum.
        """
        figures = [_present(one) for one in optimizer.masked_weights]
        for one, found in zip(optimizer.masked_weights, figures, strict=True):
            for what, value in found.shares().items():
                files.scalar(f"epoch_{what}/{self._prefix(optimizer)}{one.name}", value)
        for what, value in self._total(optimizer, figures).items():
            files.scalar(f"epoch_total/{self._prefix(optimizer)}{what}", value)

    def _write_mask(self, files: EventFiles, tag: str, one: MaskedWeight, mask: np.ndarray) -> None:
        layer, rank = self._owners.get(id(one.variable)), mask.ndim
        axes: tuple[tuple[int, ...], tuple[int, ...]] = (rank - 2,), (rank - 1,)
        if layer is not None:  # else of another model, as the two of a GAN
            axes = input_axes(layer, rank), output_axes(layer, rank)
        shown = channel_map(mask, *axes)
        rows, columns = shown.per_cell
        cells = CELLS.format(rows, columns) if rows * columns > 1 else ""
        files.image(tag, light(shown.shares), MASK.format(cells))

    def _prefix(self, optimizer: SparseMomentum) -> str:
        return f"{optimizer.name}/" if self._several else ""

    def _total(self, optimizer: SparseMomentum, figures: Sequence["Figures"]) -> dict[str, float]:
        """What is known of all masked weights of an optimizer, and of the model."""
        self._note(optimizer, figures)
        multiply_adds = self._multiply_adds()
        known = {} if multiply_adds is None else {"multiply_adds": multiply_adds}
        return _sum(figures).shares() | known

    def _note(self, optimizer: SparseMomentum, figures: Sequence["Figures"]) -> None:
        for one, found in zip(optimizer.masked_weights, figures, strict=True):
            self._densities[id(one.variable)] = found.active / found.size

    def _multiply_adds(self) -> float | None:
        """Those of one example through the model; None: unknown."""
        total: float | None = self._counted.other
        for key, dense in self._counted.of_weights.items():
            if total is None or dense is None:
                return None
            total += dense * self._densities.get(key, 1.0)
        return total


class Figures(NamedTuple):
    """Numbers of weights: of one masked weight, or of all."""

    size: int
    active: int
    ever: int
    pruned: int = 0
    grown: int = 0

    def shares(self) -> dict[str, float]:
        size = max(self.size, 1)
        return {"density": self.active / size, "exploration_rate": self.ever / size}

    def changes(self) -> dict[str, float]:
        return {"pruned": self.pruned, "grown": self.grown}


def _sum(figures: Sequence[Figures]) -> Figures:
    return Figures(*np.sum([Figures(0, 0, 0), *figures], axis=0).tolist())


def _present(one: MaskedWeight) -> Figures:
    return Figures(one.size, *one.counts())


def _compared(
    one: MaskedWeight, before: np.ndarray, after: np.ndarray, keep_explored: bool
) -> Figures:
    """The figures after an update, and what it changes."""
    bits = mask_bits.pack(after)
    if keep_explored:
        bits |= one.explored_bits()
    active = int(np.count_nonzero(after))
    both = int(np.count_nonzero(before & after))
    pruned = int(np.count_nonzero(before)) - both
    ever = int(np.unpackbits(bits).sum(dtype=np.int64))
    return Figures(one.size, active, ever, pruned, active - both)


def _keeps_momenta(optimizer: SparseMomentum) -> bool:
    if optimizer.gradient_momentum is not None:
        return True
    try:
        check_momentum(optimizer.inner_optimizer)
    except ValueError:
        return False
    return True


def light(shares: np.ndarray) -> np.ndarray:
    """Shares of white in [0, 1] as pixels that give this light on a screen (sRGB, IEC 61966-2-1).

    So a picture in which cells are one pixel looks as the whole one does from further away.

    >>> light(np.array([0.0, 0.01, 0.5, 1.0])).tolist()
    [0, 25, 188, 255]
    """
    encoded = np.where(shares <= 0.0031308, 12.92 * shares, 1.055 * shares ** (1 / 2.4) - 0.055)
    return np.rint(255 * encoded).astype(np.uint8)
