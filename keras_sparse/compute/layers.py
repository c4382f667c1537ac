"""The sparse layers, ``keras_sparse.layers``."""

from keras_sparse.compute.normalization import FusedBatchNormalization
from keras_sparse.compute.sparse_conv2d import SparseConv2D
from keras_sparse.compute.sparse_dense import SparseDense
from keras_sparse.compute.sparse_layer import SparseLayer

__all__ = ["FusedBatchNormalization", "SparseConv2D", "SparseDense", "SparseLayer"]
