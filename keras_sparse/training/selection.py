"""The weights that get a mask.

Kernels of Dense, EinsumDense (so MultiHeadAttention), convolutions, transposed convolutions, the
pointwise part of separable convolutions, and LSTM, GRU and SimpleRNN do. Biases, normalization,
embeddings and depthwise kernels do not; a convolution with as many groups as channels is depthwise,
with fewer groups it is a convolution. ``dense=`` takes weights out, ``sparse=`` puts weights in and
has the last word.
"""

from collections.abc import Sequence
from typing import Any, TypeAlias

import keras

from keras_sparse._keras import layers_of
from keras_sparse.rules.density import matches
from keras_sparse.rules.received import shown
from keras_sparse.training.selectors import (
    Selector,
    check_selectors,
    selectors_of_config,
    selectors_to_config,
)

KERNEL_NAMES = ("kernel", "recurrent_kernel", "pointwise_kernel")
DEPTHWISE = (keras.layers.DepthwiseConv1D, keras.layers.DepthwiseConv2D)

# {id of a variable: the layers that hold it, however deep}
Owners: TypeAlias = dict[int, list[keras.layers.Layer]]


class Selection:
    """The trainable weights of a model that get a mask.

    They are those of the default rule, less ``dense``, plus ``sparse``.

    Args:
        sparse: globs on a variable's path, layers or layer types to mask in addition; one, a
            collection, or None.
        dense: the same, to leave dense.

    Raises:
        TypeError: anything else.
    """

    def __init__(self, sparse: Any = None, dense: Any = None) -> None:
        self.sparse, self.dense = check_selectors(sparse, "sparse"), check_selectors(dense, "dense")

    @property
    def needs_model(self) -> bool:
        """Layer types cannot be told from variables alone."""
        return any(isinstance(selector, type) for selector in self.sparse + self.dense)

    def of_trainable(self, model: keras.Model) -> list[Any]:
        """The variables of a built model that get a mask.

        Raises:
            ValueError: as ``select``, and for a model without trainable weights or kernels.
        """
        variables = model.trainable_variables
        if not variables:
            raise ValueError(
                "`model` must have trainable weights: build it, or unfreeze the layers to mask. "
                f"Received: model={model.name}"
            )
        chosen = self.select(variables, model)
        if not chosen:
            raise ValueError(
                "`model` must have trainable kernels. Unfreeze the layers to mask; mask those to "
                "quantize before `model.quantize`. "
                f"Received: model={model.name}, without any"
            )
        return [variables[i] for i in chosen]

    def select(self, variables: Sequence[Any], model: keras.Model | None) -> list[int]:
        """Indices of the trainable variables that get a mask.

        Args:
            variables: the trainable variables.
            model: the model of the variables. Without it, layer types select nothing, and the
                path or the last axis of 1 identifies a depthwise kernel. With it, a selector may
                select frozen weights alone.

        Raises:
            ValueError: a selector that selects no weight, or nothing is left to mask.
        """
        owners = None if model is None else _owners(model)
        chosen = self._chosen(variables, owners)
        for selectors, argument in ((self.dense, "dense"), (self.sparse, "sparse")):
            _check_all_match(
                variables if model is None else model.weights, selectors, owners, argument
            )
        if not chosen and (owners is not None or not self.needs_model):
            frozen = (
                []
                if model is None
                else self._chosen([v for v in model.weights if not v.trainable], owners)
            )
            if not frozen:
                raise ValueError(
                    "There is nothing to mask: no kernel of two or more axes is left. Received: "
                    f"sparse={self.sparse}, dense={self.dense}; the weights are {_paths(variables)}"
                )
        return chosen

    def select_known(self, variables: Sequence[Any]) -> list[int]:
        """What ``select`` selects without the model; nothing is an error."""
        return self._chosen(variables, None)

    def _chosen(self, variables: Sequence[Any], owners: Owners | None) -> list[int]:
        chosen = {i for i, v in enumerate(variables) if _by_default(v, owners)}
        chosen -= _matching(variables, self.dense, owners)
        return sorted(
            chosen
            | {i for i in _matching(variables, self.sparse, owners) if len(variables[i].shape) >= 2}
        )

    def __repr__(self) -> str:
        return f"Selection(sparse={self.sparse}, dense={self.dense})"

    def get_config(self) -> dict[str, Any]:
        """As JSON: a layer becomes the paths of its weights, a type its name."""
        return {
            "sparse": selectors_to_config(self.sparse),
            "dense": selectors_to_config(self.dense),
        }

    @staticmethod
    def from_config(config: dict[str, Any]) -> dict[str, Any]:
        """The arguments ``sparse`` and ``dense``; own layer types must be registered with Keras."""
        return {key: selectors_of_config(config[key]) for key in ("sparse", "dense")}


def kernels(model: keras.Model) -> list[Any]:
    """The weights of a model that get a mask by default, those of frozen layers included."""
    owners = _owners(model)
    return [variable for variable in model.weights if _by_default(variable, owners)]


def _owners(model: keras.Model) -> Owners:
    owners: Owners = {}
    for layer in layers_of(model):
        for variable in layer.weights:
            owners.setdefault(id(variable), []).append(layer)
    return owners


def _by_default(variable: Any, owners: Owners | None) -> bool:
    if variable.name not in KERNEL_NAMES or len(variable.shape) < 2:
        return False
    if owners is not None:
        return not any(_is_depthwise(layer, variable) for layer in owners.get(id(variable), []))
    return "depthwise" not in variable.path and not (
        len(variable.shape) > 2 and variable.shape[-1] == 1
    )


def _is_depthwise(layer: keras.layers.Layer, kernel: Any) -> bool:
    """Does each output see one input channel?  So it is with as many groups as channels."""
    return isinstance(layer, DEPTHWISE) or (
        getattr(layer, "groups", 1) > 1 and kernel.shape[-2] == 1
    )


def _matching(
    variables: Sequence[Any], selectors: Sequence[Selector], owners: Owners | None
) -> set[int]:
    return {
        i
        for i, v in enumerate(variables)
        if any(_selects(selector, v, owners or {}) for selector in selectors)
    }


def _check_all_match(
    variables: Sequence[Any], selectors: Sequence[Selector], owners: Owners | None, argument: str
) -> None:
    for selector in selectors:
        unknown = isinstance(selector, type) and owners is None
        if not unknown and not any(_selects(selector, v, owners or {}) for v in variables):
            raise ValueError(
                f"`{argument}` selects no trainable weight. "
                f"Received: {shown(selector)}; the weights are {_paths(variables)}"
            )


def _selects(selector: Selector, variable: Any, owners: Owners) -> bool:
    if isinstance(selector, str):
        return matches(variable.path, selector)
    if isinstance(selector, type):
        return any(isinstance(layer, selector) for layer in owners.get(id(variable), []))
    return any(variable is own for own in selector.weights)


def _paths(variables: Sequence[Any]) -> list[str]:
    return [variable.path for variable in variables]
