"""A model that is ready to be written: Keras' own layers, its inputs, and what it predicts."""

import dataclasses
import functools
from collections.abc import Iterator
from typing import Any

import keras
import numpy as np

from keras_sparse._keras import Serving, check_model, input_signature, layers_of
from keras_sparse.conversion.sparsify import check_has_weights, densify, has_layers_to_densify
from keras_sparse.exporting.sample import predictions_of
from keras_sparse.rules.received import received


@dataclasses.dataclass
class ReadyModel:
    """What a format writes, and what its runtime is compared with.

    Attributes:
        model: of Keras' own layers, or of sparse layers where their ops are to run.
        signature: the positional arguments of its call, structures of specs.
        sample: arrays for the signature, flat.
        settings: arguments of the format.
        dtype: what weights are stored in, where the format leaves a choice.
        sparsity: whether kernels with many zeros are stored sparse, where the format can. None: if
            its converter loses no weights by it.
        one_by_one: whether the file takes one example at a time.
        constants: variables whose values become part of the traced graph.
        notes: what writing it has found, one sentence each.
    """

    model: keras.Model
    signature: list[Any]
    sample: list[np.ndarray]
    settings: dict[str, Any] = dataclasses.field(default_factory=dict)
    dtype: str = "float32"
    sparsity: bool | None = False
    one_by_one: bool = False
    constants: tuple[keras.Variable, ...] = ()
    notes: list[str] = dataclasses.field(default_factory=list)

    @functools.cached_property
    def serving(self) -> Serving:
        """The traced prediction."""
        if not self.one_by_one:
            return Serving(self.model, self.signature, self.constants)
        return Serving(self.model, keras.tree.map_structure(_of_one_example, self.signature))

    @functools.cached_property
    def expected(self) -> list[np.ndarray]:
        """What the model predicts for its sample, flat."""
        return predictions_of(self.model, self.signature, self.sample)

    def examples(self) -> Iterator[list[np.ndarray]]:
        """The examples of the sample, each a batch of 1."""
        for i in range(len(self.sample[0])):
            yield [array[i : i + 1] for array in self.sample]

    @property
    def structured_sample(self) -> Any:
        """The sample as the positional arguments of the model's call."""
        return keras.tree.pack_sequence_as(self.signature, self.sample)


def _of_one_example(spec: Any) -> Any:
    return keras.InputSpec(dtype=spec.dtype, shape=(1, *spec.shape[1:]), name=spec.name)


def signature_of(model: keras.Model, given: Any) -> list[Any]:
    """The signature of a model that has its weights; ``given`` replaces what Keras knows.

    Raises:
        TypeError: not a Keras model.
        ValueError: the model has no weights yet, or ``given`` holds no specs.
    """
    check_model(model)
    check_has_weights(model)
    if given is None:
        return input_signature(model)
    specs = keras.tree.flatten(given)
    if not specs or any(getattr(spec, "shape", None) is None for spec in specs):
        raise ValueError(
            "`input_signature` must hold a keras.InputSpec with a shape for each input, such as "
            f"[keras.InputSpec('float32', (None, 8))]. {received(input_signature=given)}"
        )
    return list(given) if isinstance(given, list | tuple) else [given]


def of_keras_layers(model: keras.Model, in_float32: bool, as_copy: bool) -> keras.Model:
    """A model of Keras' own layers that predicts the same as ``model``, which stays unchanged.

    Args:
        model: sparse or dense.
        in_float32: whether all of its layers must compute in float32, whatever their policies are.
        as_copy: whether it must be a model of its own, not compiled.
    """
    changes_dtypes = in_float32 and is_mixed(model)
    if as_copy or changes_dtypes or has_layers_to_densify(model):
        model = densify(model)
    if changes_dtypes:
        for layer in (model, *layers_of(model)):
            layer.dtype_policy = "float32"
    return model


def is_mixed(model: keras.Model) -> bool:
    """Whether a layer computes in 16 bits."""
    return any(
        layer.compute_dtype in ("float16", "bfloat16") for layer in (model, *layers_of(model))
    )
