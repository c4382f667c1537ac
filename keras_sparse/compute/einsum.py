"""Einsums of inputs and a kernel that are matrix products, the kernel not transposed."""

import dataclasses
import math
from collections.abc import Sequence
from typing import Any

from keras import ops

ELLIPSIS = "."  # the label of all axes that "..." stands for


@dataclasses.dataclass(frozen=True)
class Contraction:
    """An einsum as a matrix product: (rows, in) by (in, out), the axes of each in its own order.

    Attributes:
        rows: labels of the inputs' axes that stay.
        contracted: labels that are summed, in the kernel's order; they are its first axes.
        made: labels that the kernel brings into the outputs; they are its last axes.
        inputs: labels of the inputs.
        outputs: labels of the outputs.
    """

    rows: str
    contracted: str
    made: str
    inputs: str
    outputs: str

    def matrix_shape(self, kernel_shape: Sequence[Any]) -> tuple[int, int]:
        """The kernel's shape as a matrix: (in, out)."""
        split = len(self.contracted)
        return math.prod(kernel_shape[:split]), math.prod(kernel_shape[split:])

    def rows_shape(self, input_shape: Sequence[Any]) -> list[Any]:
        """The sizes of the inputs' axes that stay.

        Args:
            input_shape: sizes of the inputs.
        """
        sizes = dict(zip(self._spelled(self.inputs, len(input_shape)), input_shape, strict=True))
        return [sizes[label] for label in self._spelled(self.rows, len(input_shape))]

    def matrix(self, inputs: Any) -> Any:
        """The inputs with the axes that stay first, and all that are summed in one, the last."""
        rank = len(inputs.shape)
        labels = self._spelled(self.inputs, rank)
        order = [*self._spelled(self.rows, rank), *self.contracted]
        if order != labels:
            inputs = ops.transpose(inputs, [labels.index(label) for label in order])
        if len(self.contracted) == 1:
            return inputs
        sizes = list(ops.shape(inputs))
        stay = rank - len(self.contracted)
        return ops.reshape(inputs, (*sizes[:stay], math.prod(sizes[stay:])))

    def rank_of_matrix(self, rank: int) -> int:
        """The number of axes of the product of ``matrix`` and the kernel."""
        return rank - len(self.contracted) + 1

    @property
    def splits_outputs(self) -> bool:
        """Are the kernel's outputs several axes, and the last ones?"""
        return len(self.made) > 1 and self.outputs == self.rows + self.made

    def flat(self, outputs: Any) -> Any:
        """What ``tensor`` gives, with all outputs of the kernel in one axis, if they are split."""
        sizes = list(ops.shape(outputs))
        stay = len(sizes) - len(self.made)
        return ops.reshape(outputs, (*sizes[:stay], math.prod(sizes[stay:])))

    def tensor(self, matrix: Any, rank: int, kernel_shape: Sequence[int]) -> Any:
        """The outputs of the einsum.

        Args:
            matrix: the product, with the axes of ``matrix`` and all outputs of the kernel in one.
            rank: the number of axes of the inputs.
            kernel_shape: the kernel's, as in the einsum.
        """
        outputs = matrix
        if len(self.made) > 1:
            sizes = list(ops.shape(matrix))[:-1]
            outputs = ops.reshape(matrix, (*sizes, *kernel_shape[len(self.contracted) :]))
        labels = [*self._spelled(self.rows, rank), *self.made]
        order = self._spelled(self.outputs, rank)
        if order != labels:
            outputs = ops.transpose(outputs, [labels.index(label) for label in order])
        return outputs

    def _spelled(self, labels: str, rank: int) -> list[str]:
        """One label for each axis of inputs of this rank; the axes of "..." get numbers."""
        elided = [str(i) for i in range(rank - len(self.inputs.replace(ELLIPSIS, "")))]
        spelled = [elided if label == ELLIPSIS else [label] for label in labels]
        return [label for part in spelled for label in part]


def contraction(equation: str) -> Contraction | str:
    """The matrix product that an einsum of inputs and a kernel is, or why it is none.

    Args:
        equation: as keras.layers.EinsumDense takes it, e.g. "abc,cde->abde".

    >>> contraction("abc,cde->abde").made, contraction("...x,xy->...y").rows
    ('de', '.')
    >>> contraction("abc,bcd->abd")
    'the einsum "abc,bcd->abd" multiplies by another kernel along axis b'
    """
    operands, outputs = equation.replace(" ", "").replace("...", ELLIPSIS).split("->")
    inputs, kernel = operands.split(",")
    if any(len(set(labels)) < len(labels) for labels in (inputs, kernel, outputs)):
        return f'the einsum "{equation}" repeats a label'
    shared = [label for label in kernel if label in inputs and label in outputs]
    if shared:
        return f'the einsum "{equation}" multiplies by another kernel along axis {shared[0]}'
    contracted = "".join(label for label in kernel if label in inputs)
    made = "".join(label for label in kernel if label in outputs)
    rows = "".join(label for label in inputs if label in outputs)
    if {*inputs} != {*rows, *contracted} or {*kernel} != {*made, *contracted}:
        return f'the einsum "{equation}" sums an operand by itself'
    if not contracted or not made or kernel != contracted + made:
        return f'the einsum "{equation}" would have to transpose the kernel'
    return Contraction(rows, contracted, made, inputs, outputs)
