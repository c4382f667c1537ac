"""The sparse layers, ``keras_sparse.layers``."""

from keras_sparse.compute.normalization import FusedBatchNormalization
from keras_sparse.compute.sparse_attention import (
    SparseGroupQueryAttention,
    SparseMultiHeadAttention,
)
from keras_sparse.compute.sparse_cells import SparseGRUCell, SparseLSTMCell, SparseSimpleRNNCell
from keras_sparse.compute.sparse_conv1d import SparseConv1D
from keras_sparse.compute.sparse_conv2d import SparseConv2D
from keras_sparse.compute.sparse_conv3d import SparseConv3D
from keras_sparse.compute.sparse_conv_transpose import (
    SparseConv1DTranspose,
    SparseConv2DTranspose,
)
from keras_sparse.compute.sparse_dense import SparseDense
from keras_sparse.compute.sparse_einsum_dense import SparseEinsumDense
from keras_sparse.compute.sparse_layer import SparseLayer
from keras_sparse.compute.sparse_recurrent import SparseGRU, SparseLSTM, SparseSimpleRNN
from keras_sparse.compute.sparse_separable_conv import (
    SparseSeparableConv1D,
    SparseSeparableConv2D,
)

__all__ = [
    "FusedBatchNormalization",
    "SparseConv1D",
    "SparseConv1DTranspose",
    "SparseConv2D",
    "SparseConv2DTranspose",
    "SparseConv3D",
    "SparseDense",
    "SparseEinsumDense",
    "SparseGRU",
    "SparseGRUCell",
    "SparseGroupQueryAttention",
    "SparseLSTM",
    "SparseLSTMCell",
    "SparseLayer",
    "SparseMultiHeadAttention",
    "SparseSeparableConv1D",
    "SparseSeparableConv2D",
    "SparseSimpleRNN",
    "SparseSimpleRNNCell",
]
