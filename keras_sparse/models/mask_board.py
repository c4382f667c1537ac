"""The MaskTensorBoard callback: TensorBoard shows the masks of a training."""

import os
from collections.abc import Iterator, Sequence
from typing import Any

import keras
import numpy as np

from keras_sparse._keras import is_chief
from keras_sparse.models.board_content import BoardContent
from keras_sparse.models.event_files import EventFiles, check_tensorboard
from keras_sparse.rules.flags import check_flags
from keras_sparse.rules.paths import as_path
from keras_sparse.training.find_optimizer import sparse_momenta_of, sparse_optimizer
from keras_sparse.training.masked_weight import MaskedWeight
from keras_sparse.training.sparse_momentum import SparseMomentum
from keras_sparse.training.updated_optimizers import given_optimizers

RUN = "masks"  # beside Keras' "train" and "validation"


class MaskTensorBoard(keras.callbacks.Callback):
    """Writes density, mask updates, masks, weights and momenta for TensorBoard.

    Use it beside ``UpdateMasks`` and, with the same ``log_dir``, beside
    ``keras.callbacks.TensorBoard``, in any order. It writes the run ``masks``; Keras' callback
    writes ``train`` and ``validation``. Of several workers, the first one writes.

    At the first step of a ``fit`` and at each mask update, the step is the optimizer's. It goes on
    in a resumed training. Keras' ``evaluation_..._vs_iterations`` has the same axis, and
    ``batch_loss`` if it is written and each batch is a step:

    - ``density/<path of the weight>``: active / all weights, afterwards;
    - ``exploration_rate/<path>``: weights that were ever active / all weights (R_s of ITOP, Liu et
      al. 2021, arXiv 2102.02887);
    - ``pruned/<path>``, ``grown/<path>``: number of weights that were active before and are
      missing afterwards, and the other way round;
    - ``total/density``, ``.../exploration_rate``, ``.../pruned``, ``.../grown``: the same of all
      masked weights; ``total/multiply_adds``: of one example through the whole model, as
      ``summary`` counts them; nothing where they are unknown;
    - ``weights/<path>``: a histogram of the active weights, as the update finds them;
    - ``momentum/<path>``: a histogram of the momenta of all weights, if the optimizer keeps
      momenta. Those of missing weights are current in a growth window;
    - ``mask/<path>``: a picture of the mask afterwards, a row for each input channel and a column
      for each output channel. The light of a pixel is the density of its weights: of all taps, and
      of neighbouring channels where there are more than 256.

    At the end of each epoch, the step is the epoch, as of Keras' ``epoch_loss``:
    ``epoch_density/<path>``, ``epoch_exploration_rate/<path>``, and ``epoch_total/density``,
    ``.../exploration_rate`` and ``.../multiply_adds``.

    Histograms and pictures are of weights that are trained. With several optimizers, a path begins
    with the optimizer's name. In your own loop, call ``set_model(model)`` and ``on_train_begin()``
    first, and ``on_train_end()`` last.

    Args:
        log_dir: folder of the logs.
        optimizer: the SparseMomentum optimizer, or a list of them, as for ``UpdateMasks``.
        write_histograms: False: no histograms.
        write_images: False: no pictures of masks.

    Raises:
        ImportError: tensorboard is not installed.
        ValueError: in ``fit``, there is no SparseMomentum.

    >>> import pathlib, tempfile
    >>> folder = tempfile.mkdtemp()
    >>> model = keras.Sequential([keras.Input((8,)), keras.layers.Dense(4)])
    >>> model.compile(ks.SparseMomentum(keras.optimizers.SGD(0.1, momentum=0.9), 0.25), "mse")
    >>> callbacks = [ks.UpdateMasks("epoch"), MaskTensorBoard(folder)]
    >>> _ = model.fit(np.ones((8, 8)), np.ones((8, 4)), epochs=2, verbose=0, callbacks=callbacks)
    >>> [path.name[:10] for path in pathlib.Path(folder, "masks").iterdir()]
    ['events.out']
    """

    def __init__(
        self,
        log_dir: str | os.PathLike[str] = "logs",
        *,
        optimizer: SparseMomentum | Sequence[SparseMomentum] | None = None,
        write_histograms: bool = True,
        write_images: bool = True,
    ) -> None:
        super().__init__()
        check_tensorboard("MaskTensorBoard")
        self.log_dir = str(as_path(log_dir, "log_dir"))
        check_flags(write_histograms=write_histograms, write_images=write_images)
        self.write_histograms, self.write_images = write_histograms, write_images
        self._given = given_optimizers(optimizer, {})
        self._optimizers: list[SparseMomentum] = []
        self._files = EventFiles(os.path.join(self.log_dir, RUN))
        self._content: BoardContent | None = None
        self._written: set[int] = set()  # ids of optimizers that this training has written

    def __repr__(self) -> str:
        return f"MaskTensorBoard({self.log_dir!r})"

    def set_model(self, model: keras.Model) -> None:
        super().set_model(model)
        for optimizer in self._given or sparse_momenta_of(model):
            optimizer.watchers.clear()  # those of a `fit` that was interrupted

    def on_train_begin(self, logs: Any = None) -> None:
        model = self.model
        found = self._given or sparse_momenta_of(model)
        self._optimizers = found or [sparse_optimizer(model)]  # which raises
        self._written = set()
        self._content = None
        if not is_chief(model):
            self._optimizers = []
        for optimizer in self._optimizers:
            optimizer.watchers.add(self)

    def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
        self._begin()

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        self._begin()  # of a model that its only batch has built
        built = [optimizer for optimizer in self._optimizers if optimizer.built]
        if not built:
            return
        content = self._content_of(self.model)  # JAX: brings the variables up to date
        with self._files.at(epoch) as files:
            for optimizer in built:
                content.write_epoch(files, optimizer)

    def on_train_end(self, logs: Any = None) -> None:
        for optimizer in self._optimizers:
            optimizer.watchers.discard(self)
        self._files.close()

    def see_masks(
        self,
        optimizer: SparseMomentum,
        weights: Sequence[MaskedWeight],
        masks: Sequence[np.ndarray],
    ) -> None:
        """Writes an update; called before it changes the masks."""
        new = {one.position: mask for one, mask in zip(weights, masks, strict=True)}
        self._write(optimizer, new)

    def _begin(self) -> None:
        """Writes the masks that the training begins with, once."""
        for optimizer in self._waiting():
            _ = self.model  # JAX
            self._write(optimizer, {})

    def _waiting(self) -> Iterator[SparseMomentum]:
        for optimizer in self._optimizers:
            if id(optimizer) not in self._written and optimizer.built and not optimizer.awaiting:
                yield optimizer

    def _write(self, optimizer: SparseMomentum, new: dict[int, np.ndarray]) -> None:
        self._written.add(id(optimizer))
        content = self._content_of(self._model)
        with self._files.at(optimizer.step()) as files:
            content.write_update(files, optimizer, new)

    def _content_of(self, model: keras.Model) -> BoardContent:
        if self._content is None:
            self._content = BoardContent(
                model, self._optimizers, self.write_histograms, self.write_images
            )
        return self._content
