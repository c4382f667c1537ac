"""Train neural networks in Keras 3 that are sparse from the first step to the last.

>>> import keras_sparse as ks
>>> optimizer = ks.SparseMomentum(keras.optimizers.SGD(0.1, momentum=0.9, nesterov=True), density=0.1)
>>> callback = ks.UpdateMasks()
"""

from keras_sparse import layers, mask_update, ops, schedules, scores
from keras_sparse.agreement import Agreement, check_agreement
from keras_sparse.backup import BackupAndRestore
from keras_sparse.callbacks import UpdateMasks
from keras_sparse.compiled import sparse_optimizer
from keras_sparse.density_of import density
from keras_sparse.export import export
from keras_sparse.momentum import momentum_of
from keras_sparse.optimizers import SparseMomentum
from keras_sparse.phases import AlternatingOverTraining
from keras_sparse.plots import plot_history
from keras_sparse.presets import ACDC, SET, GradualPruning, GraNet, RigL, StaticSparsity
from keras_sparse.prune import prune
from keras_sparse.schedules import CosineOverTraining, CubicOverTraining
from keras_sparse.scores import MaskedLayer
from keras_sparse.snip import snip_masks, snip_scores
from keras_sparse.sparsify import densify, sparsify
from keras_sparse.summary import summary

__version__ = "0.1.0"

__all__ = [
    "ACDC",
    "SET",
    "Agreement",
    "AlternatingOverTraining",
    "BackupAndRestore",
    "CosineOverTraining",
    "CubicOverTraining",
    "GraNet",
    "GradualPruning",
    "MaskedLayer",
    "RigL",
    "SparseMomentum",
    "StaticSparsity",
    "UpdateMasks",
    "check_agreement",
    "densify",
    "density",
    "export",
    "layers",
    "mask_update",
    "momentum_of",
    "ops",
    "plot_history",
    "prune",
    "schedules",
    "scores",
    "snip_masks",
    "snip_scores",
    "sparse_optimizer",
    "sparsify",
    "summary",
]


def __dir__() -> list[str]:
    """The public names, without the modules that they are defined in."""
    return [*__all__, "__version__"]
