"""The cells of LSTM, GRU and SimpleRNN that skip missing weights of both of their kernels."""

import contextlib
from collections.abc import Iterator
from typing import Any, ClassVar

import keras
from keras import ops

from keras_sparse._keras import NamedInFiles
from keras_sparse.compute.product import Product
from keras_sparse.compute.sparse_layer import SparseLayer
from keras_sparse.rules.structure import Weights


class SparseCell(SparseLayer):
    """A recurrent cell: one product of the inputs and one of the state, each for all gates.

    Attributes:
        gates: how many products of ``units`` outputs are in one kernel.
    """

    masked_weights = ("kernel", "recurrent_kernel")
    gates: ClassVar[int]
    takes_projected_inputs = False

    @classmethod
    def products_of(cls, layer: keras.layers.Layer) -> dict[str, Product]:
        outputs, dtype = cls.gates * layer.units, layer.compute_dtype
        structure = getattr(layer, "structure", Weights())
        channels = layer.kernel.shape[0] if layer.built else None
        obstacle = cls._obstacle(layer, layer.recurrent_dropout)
        if not getattr(layer, "reset_after", True):
            obstacle = "reset_after is False: the recurrent kernel is multiplied in two parts"
        return {
            "kernel": Product(
                "matmul",
                (channels, outputs),
                dtype,
                structure=structure,
                obstacle=cls._obstacle(layer, layer.dropout),
            ),
            "recurrent_kernel": Product(
                "matmul", (layer.units, outputs), dtype, structure=structure, obstacle=obstacle
            ),
        }

    @staticmethod
    def _obstacle(layer: keras.layers.Layer, dropout: float) -> str | None:
        """Why a product is computed gate by gate, or None."""
        is_by_gate = dropout > 0 and getattr(layer, "dropout_mask_count", None) is not None
        return "each gate has a dropout mask of its own" if is_by_gate else None

    @staticmethod
    def leave(layer: keras.layers.Layer) -> None:
        SparseLayer.leave(layer)
        if not isinstance(layer, keras.layers.SimpleRNNCell):  # Keras' own setting of this name
            layer.implementation = 2 if getattr(layer, "dropout_mask_count", None) is None else 1

    def call(self, inputs: Any, states: Any, training: bool = False) -> Any:
        if not self.takes_projected_inputs:
            inputs = self._gates(inputs, "kernel", self._dropout_of(inputs, training))
        state, *others = states if isinstance(states, list | tuple) else [states]
        new = self._step(inputs, state, others, training)
        return new[0], new if isinstance(states, list | tuple) else new[0]

    def _step(self, projected: Any, state: Any, others: list[Any], training: bool) -> list[Any]:
        """The new states, the output first.

        Args:
            projected: product of the inputs and the kernel, (batch, gates * units).
            state: the last output, (batch, units).
            others: further states.
            training: is dropout active?
        """
        raise NotImplementedError(f"{type(self).__name__} must say what its gates do.")

    # --- the products

    def project(self, sequences: Any, training: bool) -> Any:
        """The product of all time steps and the kernel, as one.

        Args:
            sequences: (batch, time, in).
            training: is dropout active?

        Returns:
            (batch, time, gates * units).
        """
        dropout = self._dropout_of(sequences[:, 0, :], training)
        if isinstance(dropout, list):
            dropout = [mask[:, None] for mask in dropout]
        elif dropout is not None:
            dropout = dropout[:, None]
        return self._gates(sequences, "kernel", dropout)

    @contextlib.contextmanager
    def projected_inputs(self) -> Iterator[None]:
        """Within it ``call`` takes time steps of what ``project`` returns."""
        self.__dict__["takes_projected_inputs"] = True
        try:
            yield
        finally:
            del self.__dict__["takes_projected_inputs"]

    @contextlib.contextmanager
    def masked_gradients(self) -> Iterator[None]:
        """Within it the kernels are tensors with the gradients of masked ones, for cuDNN."""
        kernels = {weight: self.__dict__[weight] for weight in self.masked_weights}
        for weight, kernel in kernels.items():
            self.__dict__[weight] = self._with_masked_gradient(ops.copy(kernel), weight)
        try:
            yield
        finally:
            self.__dict__.update(kernels)

    def _gates(self, inputs: Any, weight: str, dropout: Any) -> Any:
        """The product of inputs and a kernel.

        Args:
            inputs: (..., in).
            weight: the kernel's name.
            dropout: a mask of the inputs, a list with one for each gate, or None.
        """
        if isinstance(dropout, list):
            kernel = self._with_masked_gradient(ops.copy(getattr(self, weight)), weight)
            parts = zip(dropout, ops.split(kernel, self.gates, axis=1), strict=True)
            return ops.concatenate([ops.matmul(inputs * m, part) for m, part in parts], axis=-1)
        return self._compute(inputs if dropout is None else inputs * dropout, weight)

    def _state_gates(self, state: Any, training: bool) -> Any:
        return self._gates(state, "recurrent_kernel", self._recurrent_dropout_of(state, training))

    def _dropout_of(self, inputs: Any, training: bool) -> Any:
        is_active = training and 0 < self.dropout < 1
        return self.get_dropout_mask(inputs) if is_active else None

    def _recurrent_dropout_of(self, state: Any, training: bool) -> Any:
        is_active = training and 0 < self.recurrent_dropout < 1
        return self.get_recurrent_dropout_mask(state) if is_active else None

    def _stock(self, inputs: Any, kernel: Any) -> Any:
        return ops.matmul(inputs, kernel)


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
