"""The weights that get a mask.

Kernels of Dense, EinsumDense (so MultiHeadAttention), convolutions, transposed convolutions, the pointwise part of
separable convolutions, and LSTM, GRU and SimpleRNN do. Biases, normalisation, embeddings and depthwise kernels do not;
a convolution with as many groups as channels is depthwise, with fewer groups it is a convolution.
``dense=`` takes weights out, ``sparse=`` puts weights in and has the last word.
"""

from collections.abc import Iterable, Sequence
from typing import Any, TypeAlias

import keras

from keras_sparse._keras import layers_of
from keras_sparse.rules.density import matches

KERNEL_NAMES = ("kernel", "recurrent_kernel", "pointwise_kernel")
DEPTHWISE = (keras.layers.DepthwiseConv1D, keras.layers.DepthwiseConv2D)

Selector: TypeAlias = (
    str | keras.layers.Layer | type
)  # a glob on the variable's path, a layer, or a layer type
Owners: TypeAlias = dict[
    int, list[keras.layers.Layer]
]  # id of a variable -> the layers that hold it, however deep


class Selection:
    """Which of a model's trainable weights get a mask: the default rule, less ``dense``, plus ``sparse``.

    Args:
        sparse: globs on a variable's path, layers or layer types to mask in addition; one or a collection, or None.
        dense: the same, to leave dense.

    Raises:
        TypeError: anything else.
    """

    def __init__(self, sparse: Any = None, dense: Any = None) -> None:
        self.sparse, self.dense = _checked(sparse, "sparse"), _checked(dense, "dense")

    @property
    def needs_model(self) -> bool:
        """Layer types cannot be told from variables alone."""
        return any(isinstance(selector, type) for selector in self.sparse + self.dense)

    def select(self, variables: Sequence[Any], model: keras.Model | None) -> list[int]:
        """Indices of the trainable variables that get a mask.

        Args:
            variables: the trainable variables.
            model: the model they belong to. Without it layer types select nothing, and a depthwise kernel is told by its
                path or its last axis of 1. With it frozen weights count where a selector must select something.

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
                    f"There is nothing to mask: no kernel of two or more axes is left. Received: weights {_paths(variables)}, {self}"
                )
        return chosen

    def select_known(self, variables: Sequence[Any]) -> list[int]:
        """What ``select`` selects without the model; nothing is an error, as frozen weights are not among the variables."""
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
        return {"sparse": _to_config(self.sparse), "dense": _to_config(self.dense)}

    @staticmethod
    def from_config(config: dict[str, Any]) -> dict[str, Any]:
        """The arguments ``sparse`` and ``dense`` again; layer types of your own must be registered with Keras."""
        return {
            key: [
                entry if isinstance(entry, str) else _layer_type(entry["layer_type"])
                for entry in config[key]
            ]
            for key in ("sparse", "dense")
        }


def kernels(model: keras.Model) -> list[Any]:
    """The weights of a model that get a mask by default, those of frozen layers included."""
    owners = _owners(model)
    return [variable for variable in model.weights if _by_default(variable, owners)]


def _checked(selectors: Any, argument: str) -> list[Selector]:
    if selectors is None:
        return []
    single = isinstance(selectors, str | keras.layers.Layer | type) or not isinstance(
        selectors, Iterable
    )
    many = [selectors] if single else list(selectors)
    for selector in many:
        if not isinstance(selector, str | keras.layers.Layer) and not (
            isinstance(selector, type) and issubclass(selector, keras.layers.Layer)
        ):
            raise TypeError(
                f"`{argument}` takes globs on a variable's path, layers, or layer types, one or a collection. Received: {argument}={selector!r}"
            )
    return many


def _to_config(selectors: Iterable[Selector]) -> list[str | dict[str, str]]:
    config: list[str | dict[str, str]] = []
    for selector in selectors:
        if isinstance(selector, keras.layers.Layer):
            config += [variable.path for variable in selector.weights if len(variable.shape) >= 2]
        else:
            config.append(
                selector
                if isinstance(selector, str)
                else {"layer_type": keras.saving.get_registered_name(selector).split(">")[-1]}
            )
    return config


def _layer_type(name: str) -> type:
    own = {key.split(">")[-1]: value for key, value in keras.saving.get_custom_objects().items()}
    found = getattr(keras.layers, name, None) or own.get(name)
    if found is None:
        raise ValueError(
            f"Unknown layer type in the saved `dense` or `sparse`; register it with Keras before loading. Received: {name}"
        )
    return found


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
    """Does each output see one input channel?  So does a convolution with as many groups as channels."""
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
                f"`{argument}` selects no trainable weight. Received: {selector!r}; the weights are {_paths(variables)}"
            )


def _selects(selector: Selector, variable: Any, owners: Owners) -> bool:
    if isinstance(selector, str):
        return matches(variable.path, selector)
    if isinstance(selector, type):
        return any(isinstance(layer, selector) for layer in owners.get(id(variable), []))
    return any(variable is own for own in selector.weights)


def _paths(variables: Sequence[Any]) -> list[str]:
    return [variable.path for variable in variables]
