"""SparseComposite: a Keras layer made of layers with kernels, which are sparse here."""

from typing import Any, ClassVar

import keras

from keras_sparse._keras import layers_of
from keras_sparse.compute.choice import check_implementation
from keras_sparse.compute.sparse_layer import SparseLayer
from keras_sparse.rules.structure import BlockShape, Structure
from keras_sparse.rules.structure_arguments import as_structure


class SparseComposite(keras.layers.Layer):
    """A Keras layer whose own sublayers become sparse when they are built.

    Args:
        *args: the Keras layer's.
        implementation: of the sublayers: see SparseConv2D.
        block_shape: of the sublayers.
        structure: of the sublayers.
        **kwargs: the Keras layer's.
    """

    sparse_types: ClassVar[dict[type, type[SparseLayer]]] = {}

    def __init__(
        self,
        *args: Any,
        implementation: str = "auto",
        block_shape: BlockShape = None,
        structure: Structure | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(*args, **kwargs)
        self.configure(implementation, as_structure(block_shape, structure))

    def configure(self, implementation: str, structure: Structure) -> None:
        """Sets what the layer has beside a Keras layer, also on copies that ``sparsify`` makes."""
        check_implementation(implementation)
        self.implementation, self.structure = implementation, structure

    @staticmethod
    def leave(layer: keras.layers.Layer) -> None:
        """Takes away what ``configure`` sets; for a copy that has become a Keras layer."""
        for name in ("implementation", "structure"):
            delattr(layer, name)

    def _convert_sublayers(self) -> None:
        """Makes the built sublayers sparse; a subclass calls it at the end of ``build``."""
        for layer in layers_of(self):
            sparse_type = self.sparse_types.get(type(layer))
            if sparse_type is not None:
                layer.__class__ = sparse_type
                layer.configure(self.implementation, self.structure)

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "implementation": self.implementation,
            **self.structure.as_arguments(),
        }
