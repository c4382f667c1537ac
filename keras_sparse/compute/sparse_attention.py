"""Keras' attention layers with sparse projections."""

from typing import Any

import keras

from keras_sparse._keras import NamedInFiles
from keras_sparse.compute.sparse_composite import SparseComposite
from keras_sparse.compute.sparse_einsum_dense import SparseEinsumDense


class SparseAttention(SparseComposite):
    """What both have in common."""

    sparse_types = {keras.layers.EinsumDense: SparseEinsumDense}  # noqa: RUF012  # as in the base

    def build(self, query_shape: Any, value_shape: Any, key_shape: Any = None) -> None:
        super().build(query_shape, value_shape, key_shape)
        self._convert_sublayers()


@keras.saving.register_keras_serializable("keras_sparse", name="SparseMultiHeadAttention")
class SparseMultiHeadAttention(
    SparseAttention,
    keras.layers.MultiHeadAttention,
    metaclass=NamedInFiles,
    name_in_files="MultiHeadAttention",
):
    """keras.layers.MultiHeadAttention whose projections are SparseEinsumDense layers.

    Arguments, weights, names and weight files are those of the Keras layer. The products of queries
    by keys and of scores by values have no weights, and are Keras'.

    >>> layer = SparseMultiHeadAttention(2, key_dim=8)
    >>> x = np.ones((2, 5, 16), "float32")
    >>> layer(x, x).shape == (2, 5, 16), layer.query_dense.mask.shape == (16, 2, 8)
    (True, True)
    """


@keras.saving.register_keras_serializable("keras_sparse", name="SparseGroupQueryAttention")
class SparseGroupQueryAttention(
    SparseAttention,
    keras.layers.GroupQueryAttention,
    metaclass=NamedInFiles,
    name_in_files="GroupedQueryAttention",
):
    """keras.layers.GroupQueryAttention whose projections are SparseEinsumDense layers.

    See SparseMultiHeadAttention.

    >>> layer = SparseGroupQueryAttention(8, num_query_heads=4, num_key_value_heads=2)
    >>> x = np.ones((2, 5, 16), "float32")
    >>> layer(x, x).shape == (2, 5, 16)
    True
    """
