"""Keras' LSTM, GRU and SimpleRNN with sparse cells; one product takes all time steps' inputs."""

from typing import Any

import keras

from keras_sparse._keras import NamedInFiles
from keras_sparse.compute.gpu_kernels import has_gpu
from keras_sparse.compute.sparse_cells import SparseGRUCell, SparseLSTMCell, SparseSimpleRNNCell
from keras_sparse.compute.sparse_composite import SparseComposite
from keras_sparse.compute.sparse_layer import SparseLayer

CELLS = {
    keras.layers.GRUCell: SparseGRUCell,
    keras.layers.LSTMCell: SparseLSTMCell,
    keras.layers.SimpleRNNCell: SparseSimpleRNNCell,
}


class SparseRecurrent(SparseComposite):
    """A recurrent layer whose cell is sparse."""

    sparse_types = CELLS

    def build(self, sequences_shape: Any, initial_state_shape: Any = None) -> None:
        super().build(sequences_shape, initial_state_shape)
        self._convert_sublayers()

    def inner_loop(
        self, sequences: Any, initial_state: Any, mask: Any, training: bool = False
    ) -> Any:
        if self._may_run_cudnn():
            with self.cell.masked_gradients():
                return super().inner_loop(sequences, initial_state, mask, training=training)
        projected = self.cell.project(sequences, training)
        mask = mask[0] if isinstance(mask, list | tuple) else mask
        with self.cell.projected_inputs():
            return keras.layers.RNN.inner_loop(
                self, projected, initial_state, mask=mask, training=training
            )

    def _may_run_cudnn(self) -> bool:
        wanted = getattr(self, "use_cudnn", False)
        has_device = keras.backend.backend() != "tensorflow" or has_gpu()
        return wanted is True or (wanted == "auto" and has_device)

    def why_stock(
        self, input_shape: Any = None, weight: str | None = None, training: bool = True
    ) -> str | None:
        """Why the stock operation computes a kernel of the cell, at its mask's density; or None.

        Args:
            input_shape: (batch, time, in), or a tensor or KerasTensor; None, for the shape or a
                size in it: very many.
            weight: ``"kernel"``, of all time steps in one product, or ``"recurrent_kernel"``, of
                one time step. None: the first.
            training: as for ``SparseLayer.why_stock``.
        """
        if input_shape is not None and weight == "recurrent_kernel":
            shape = getattr(input_shape, "shape", input_shape)
            input_shape = (shape[0], self.cell.units)
        why: str | None = self.cell.why_stock(input_shape, weight, training)
        return why

    runs_as = SparseLayer.runs_as  # it asks `why_stock`, above


@keras.saving.register_keras_serializable("keras_sparse", name="SparseLSTM")
class SparseLSTM(SparseRecurrent, keras.layers.LSTM, metaclass=NamedInFiles, name_in_files="LSTM"):
    """keras.layers.LSTM that skips missing weights of its two kernels.

    Arguments, weights, names and weight files are those of the Keras layer, but ``implementation``:
    ``"auto"``, ``"custom_op"`` or ``"stock"``, as for SparseConv2D. The masks are the cell's:
    ``layer.cell.kernel_masks``.

    >>> layer = SparseLSTM(8)
    >>> layer(np.ones((2, 5, 16), "float32")).shape == (2, 8), layer.cell.mask.shape == (16, 32)
    (True, True)
    """


@keras.saving.register_keras_serializable("keras_sparse", name="SparseGRU")
class SparseGRU(SparseRecurrent, keras.layers.GRU, metaclass=NamedInFiles, name_in_files="GRU"):
    """keras.layers.GRU that skips missing weights of its two kernels: see SparseLSTM.

    >>> SparseGRU(8)(np.ones((2, 5, 16), "float32")).shape == (2, 8)
    True
    """


@keras.saving.register_keras_serializable("keras_sparse", name="SparseSimpleRNN")
class SparseSimpleRNN(
    SparseRecurrent, keras.layers.SimpleRNN, metaclass=NamedInFiles, name_in_files="SimpleRNN"
):
    """keras.layers.SimpleRNN that skips missing weights of its two kernels: see SparseLSTM.

    >>> SparseSimpleRNN(8)(np.ones((2, 5, 16), "float32")).shape == (2, 8)
    True
    """
