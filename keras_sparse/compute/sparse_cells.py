"""The cells of LSTM, GRU and SimpleRNN that skip missing weights of both of their kernels."""

from typing import Any

import keras
from keras import ops

from keras_sparse._keras import NamedInFiles
from keras_sparse.compute.sparse_cell import SparseCell


@keras.saving.register_keras_serializable("keras_sparse", name="SparseLSTMCell")
class SparseLSTMCell(
    SparseCell, keras.layers.LSTMCell, metaclass=NamedInFiles, name_in_files="LSTMCell"
):
    """keras.layers.LSTMCell that skips missing weights of its two kernels: see SparseConv2D.

    >>> cell = SparseLSTMCell(8)
    >>> cell.build((None, 16))
    >>> [(name, one.shape) for name, one in cell.kernel_masks.items()]
    [('kernel', (16, 32)), ('recurrent_kernel', (8, 32))]
    """

    gates = 4

    def _step(self, projected: Any, state: Any, others: list[Any], training: bool) -> list[Any]:
        gates = ops.add(projected, self._state_gates(state, training))
        if self.use_bias:
            gates = ops.add(gates, self.bias)
        gate_in, forget, new, out = ops.split(gates, 4, axis=-1)
        kept = self.recurrent_activation(forget) * others[0]
        carry = kept + self.recurrent_activation(gate_in) * self.activation(new)
        return [self.recurrent_activation(out) * self.activation(carry), carry]


@keras.saving.register_keras_serializable("keras_sparse", name="SparseGRUCell")
class SparseGRUCell(
    SparseCell, keras.layers.GRUCell, metaclass=NamedInFiles, name_in_files="GRUCell"
):
    """keras.layers.GRUCell that skips missing weights of its two kernels: see SparseConv2D.

    With ``reset_after=False`` the stock operation computes the recurrent kernel.

    >>> cell = SparseGRUCell(8)
    >>> cell.build((None, 16))
    >>> cell.mask.shape == (16, 24)
    True
    """

    gates = 3

    def _step(self, projected: Any, state: Any, others: list[Any], training: bool) -> list[Any]:
        bias = recurrent_bias = None
        if self.use_bias:
            bias, recurrent_bias = (
                (self.bias[0], self.bias[1]) if self.reset_after else (self.bias, None)
            )
            projected = ops.add(projected, bias)
        if not self.reset_after:
            update, new = self._gates_with_reset_before(projected, state, training)
        else:
            inner = self._state_gates(state, training)
            if recurrent_bias is not None:
                inner = ops.add(inner, recurrent_bias)
            updates, resets, news = zip(
                *(ops.split(x, 3, axis=-1) for x in (projected, inner)), strict=True
            )
            update = self.recurrent_activation(updates[0] + updates[1])
            new = self.activation(news[0] + self.recurrent_activation(sum(resets)) * news[1])
        return [update * state + (1 - update) * new]

    def _gates_with_reset_before(self, projected: Any, state: Any, training: bool) -> Any:
        """The update gate and the new state, where the reset gate multiplies the state."""
        name = "recurrent_kernel"
        kernel = self._with_masked_gradient(ops.copy(getattr(self, name)), name)
        parts = ops.split(kernel, 3, axis=-1)
        dropout = self._recurrent_dropout_of(state, training)
        masks = dropout if isinstance(dropout, list) else [1.0 if dropout is None else dropout] * 3
        update, reset, new = ops.split(projected, 3, axis=-1)
        update = self.recurrent_activation(update + ops.matmul(state * masks[0], parts[0]))
        reset = self.recurrent_activation(reset + ops.matmul(state * masks[1], parts[1]))
        return update, self.activation(new + ops.matmul(reset * state * masks[2], parts[2]))


@keras.saving.register_keras_serializable("keras_sparse", name="SparseSimpleRNNCell")
class SparseSimpleRNNCell(
    SparseCell, keras.layers.SimpleRNNCell, metaclass=NamedInFiles, name_in_files="SimpleRNNCell"
):
    """keras.layers.SimpleRNNCell that skips missing weights of its two kernels: see SparseConv2D.

    >>> cell = SparseSimpleRNNCell(8)
    >>> cell.build((None, 16))
    >>> cell.mask.shape == (16, 8)
    True
    """

    gates = 1

    def _step(self, projected: Any, state: Any, others: list[Any], training: bool) -> list[Any]:
        if self.bias is not None:
            projected = ops.add(projected, self.bias)
        output = projected + self._state_gates(state, training)
        return [output if self.activation is None else self.activation(output)]
