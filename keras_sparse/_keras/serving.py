"""The function of a model that files for serving hold, as Keras traces it."""

import contextlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import keras
from keras.src.export.export_utils import get_input_signature

from keras_sparse._keras.models import layers_of
from keras_sparse._keras.values import to_numpy

ENDPOINT = "serve"


def input_signature(model: keras.Model) -> list[Any]:
    """The positional arguments of a model's call: structures of specs with shape, dtype and name.

    Raises:
        ValueError: the model is subclassed and was never called, so its inputs are unknown.
    """
    return list(get_input_signature(model))


class Serving:
    """A model's prediction, traced for one signature.

    Args:
        model: a Keras model.
        signature: as ``input_signature`` returns it.
        constants: variables of the model whose values become part of the graph, on TensorFlow:
            each operation that reads a variable takes about 2 µs of a prediction.
        **settings: of ``keras.export.ExportArchive.add_endpoint``.
    """

    def __init__(
        self,
        model: keras.Model,
        signature: Any,
        constants: Sequence[Any] = (),
        **settings: Any,
    ) -> None:
        self._model = model
        self._archive = keras.export.ExportArchive()
        if keras.backend.backend() == "tensorflow":
            # Keras leaves `training` open, and layers such as RandomFlip are in training by default
            predict = _prediction(model, [(each, to_numpy(each)) for each in constants])
            self._archive.track(model)
            self._archive.add_endpoint(ENDPOINT, predict, signature, **settings)
        else:
            self._archive.track_and_add_endpoint(ENDPOINT, model, signature, **settings)
        self._saved = self._archive._tf_trackable

    def attach(self, **trackables: Any) -> None:
        """Adds objects to the SavedModel, such as a ``tf.saved_model.Asset``."""
        for name, trackable in trackables.items():
            setattr(self._saved, name, trackable)

    def write(self, path: Path | str) -> None:
        """Writes a SavedModel that keeps its variables while any part of it is in use.

        What Keras writes loses them in ``tf.saved_model.load(path).serve(x)``: nobody holds the
        loaded object when the call begins, and TensorFlow says that variables have been deleted. A
        reference of the object to itself leaves it to Python's garbage collector. On TensorFlow,
        Keras also writes each variable twice: as its own object, and as TensorFlow's.
        """
        self._saved.itself = self._saved
        if keras.backend.backend() == "tensorflow":
            for name in ("variables", "trainable_variables", "non_trainable_variables"):
                variables = getattr(self._saved, name)
                setattr(self._saved, name, [getattr(each, "value", each) for each in variables])
        self._archive.write_out(str(path), verbose=False)

    def function(self) -> Any:
        """The traced function of TensorFlow, which takes flat tensors."""
        self._archive._filter_and_track_resources()
        return getattr(self._saved, ENDPOINT).get_concrete_function()

    def function_of(self, variables: list[Any]) -> tuple[Any, dict[str, Any]]:
        """The same, with further inputs in the place of some variables; on TensorFlow.

        Args:
            variables: of the model.

        Returns:
            The function, and {name of an input: variable}.
        """
        import tensorflow as tf

        names = [f"weight_{i}" for i in range(len(variables))]
        specs = [
            tf.TensorSpec(v.shape, v.dtype, name) for v, name in zip(variables, names, strict=True)
        ]

        def predict(*arguments: Any) -> Any:
            count = len(arguments) - len(variables)
            pairs = list(zip(variables, arguments[count:], strict=True))
            with keras.StatelessScope(state_mapping=pairs):
                return self._model(*arguments[:count], training=False)

        given = getattr(self._saved, ENDPOINT).input_signature
        traced = tf.function(predict, input_signature=[*given, *specs], autograph=False)
        return traced.get_concrete_function(), dict(zip(names, variables, strict=True))

    def has_loops(self) -> bool:
        """Whether the traced function has a loop, as recurrent layers do."""
        graph = self.function().graph.as_graph_def()
        nodes = [*graph.node, *(node for one in graph.library.function for node in one.node_def)]
        return any(node.op in ("While", "StatelessWhile") for node in nodes)

    def input_names(self) -> list[str]:
        """Its names of the inputs, in the order of ``keras.tree.flatten(signature)``."""
        traced = getattr(self._saved, ENDPOINT).get_concrete_function()
        count = len(traced.inputs) - len(traced.captured_inputs)  # variables, tables, constants
        return [each.name.partition(":")[0] for each in traced.inputs[:count]]


def _prediction(model: keras.Model, constants: list[tuple[Any, Any]]) -> Callable[..., Any]:
    """The model's prediction, with values in the place of variables unless it changes any."""

    def predict(*inputs: Any) -> Any:
        if constants:
            with keras.StatelessScope(state_mapping=constants) as scope:
                before = _ids(scope)
                outputs = model(*inputs, training=False)
            if before == _ids(scope):
                return outputs
        return model(*inputs, training=False)

    return predict


def _ids(scope: keras.StatelessScope) -> dict[int, int]:
    """Which tensor stands for which variable."""
    return {variable: id(value) for variable, value in scope.state_mapping.items()}


@contextlib.contextmanager
def states_kept(model: keras.Model) -> Iterator[None]:
    """The body may call the model: its state stays as it was before.

    That is what layers change themselves: random seeds, states of recurrent layers, own counters.
    """
    states = []
    for layer in layers_of(model):
        states += keras.tree.flatten(getattr(layer, "states", None))
        states += [generator.state for generator in layer._seed_generators]
        states += layer._non_trainable_variables
    kept = [(v, to_numpy(v)) for v in states if isinstance(v, keras.Variable)]
    try:
        yield
    finally:
        for variable, value in kept:
            variable.assign(value)
