"""SparseCell: a recurrent cell whose products with inputs and state skip missing weights."""

import contextlib
from collections.abc import Iterator
from typing import Any, ClassVar

import keras
from keras import ops

from keras_sparse.compute.product import Product
from keras_sparse.compute.sparse_layer import SparseLayer
from keras_sparse.rules.single_weights import Weights


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
