"""On GPUs a step is traced for the densities of its masks, and anew when they have changed much.

A condition in a step waits for the GPU, so each layer's implementation is chosen when the step is
traced. XLA may compile a step for a minute. So the choices are looked at after 10,000 steps, and
then each time that the training has become twice as long.
"""

from collections.abc import Sequence

import keras

from keras_sparse._keras import layers_of
from keras_sparse.compute.sparse_layer import SparseLayer
from keras_sparse.training.sparse_momentum import SparseMomentum

FIRST_STEPS = 10_000  # take longer than XLA takes to compile one, unless they are very small


class Retracing:
    """Looks at what a training step was traced for, in one ``fit``.

    Args:
        optimizers: the ``fit`` begins, and traces its step, where they are.
    """

    def __init__(self, optimizers: Sequence[SparseMomentum]) -> None:
        self._optimizers = optimizers
        self._begun = self._now()
        self._due = self._begun + FIRST_STEPS

    def _now(self) -> int:
        return sum(one.step() for one in self._optimizers if one.built)

    def look(self, model: keras.Model) -> bool:
        """Has Keras trace the training step anew, if it is time and a layer would choose otherwise.

        Args:
            model: in a ``fit``, between two steps.

        Returns:
            Will the step be traced anew?
        """
        now = self._now()
        if now < self._due:
            return False
        self._due = now + (now - self._begun)
        if not any(map(_chooses_otherwise, layers_of(model))):
            return False
        model.make_train_function(force=True)
        return True


def _chooses_otherwise(layer: keras.layers.Layer) -> bool:
    return isinstance(layer, SparseLayer) and layer.chooses_otherwise()
