"""Train neural networks in Keras 3 that are sparse from the first step to the last.

>>> import keras_sparse as ks
>>> sgd = keras.optimizers.SGD(0.1, momentum=0.9, nesterov=True)
>>> optimizer = ks.SparseMomentum(sgd, density=0.1)
>>> callback = ks.UpdateMasks()
"""

import sys

from keras_sparse.commands.arguments import answer_early

answer_early()  # before TensorFlow is imported

from keras_sparse.compute import layers, ops
from keras_sparse.conversion.from_tfmot import from_tfmot
from keras_sparse.conversion.sparsify import densify, sparsify
from keras_sparse.exporting.export import export
from keras_sparse.models.compact import compact
from keras_sparse.models.compressed import load_compressed, save_compressed
from keras_sparse.models.density_of import density
from keras_sparse.models.mask_board import MaskTensorBoard
from keras_sparse.models.plots import plot_history
from keras_sparse.models.prune import prune
from keras_sparse.models.summary import summary
from keras_sparse.reporting.report import report
from keras_sparse.rules import mask_update, scores
from keras_sparse.rules import structure_arguments as structure
from keras_sparse.rules.blocks import Blocks
from keras_sparse.rules.channels import Channels
from keras_sparse.rules.masked_layer import MaskedLayer
from keras_sparse.rules.n_of_m import NofM
from keras_sparse.training import schedules
from keras_sparse.training.agreement import Agreement, check_agreement
from keras_sparse.training.backup import BackupAndRestore
from keras_sparse.training.callbacks import UpdateMasks
from keras_sparse.training.find_optimizer import sparse_optimizer
from keras_sparse.training.momentum import momentum_of
from keras_sparse.training.phases import AlternatingOverTraining
from keras_sparse.training.presets import SET, RigL, StaticSparsity
from keras_sparse.training.pruning_presets import ACDC, GradualPruning, GraNet
from keras_sparse.training.schedules import CosineOverTraining, CubicOverTraining
from keras_sparse.training.snip import snip_masks, snip_scores
from keras_sparse.training.sparse_momentum import SparseMomentum

_MODULES = ("density", "layers", "mask_update", "ops", "schedules", "scores", "structure")
__version__ = "0.1.0"

__all__ = [
    "ACDC",
    "SET",
    "Agreement",
    "AlternatingOverTraining",
    "BackupAndRestore",
    "Blocks",
    "Channels",
    "CosineOverTraining",
    "CubicOverTraining",
    "GraNet",
    "GradualPruning",
    "MaskTensorBoard",
    "MaskedLayer",
    "NofM",
    "RigL",
    "SparseMomentum",
    "StaticSparsity",
    "UpdateMasks",
    "check_agreement",
    "compact",
    "densify",
    "density",
    "export",
    "from_tfmot",
    "layers",
    "load_compressed",
    "mask_update",
    "momentum_of",
    "ops",
    "plot_history",
    "prune",
    "report",
    "save_compressed",
    "schedules",
    "scores",
    "snip_masks",
    "snip_scores",
    "sparse_optimizer",
    "sparsify",
    "structure",
    "summary",
]


# Public modules have public names: from keras_sparse.layers import SparseDense.
sys.modules.update({f"{__name__}.{name}": globals()[name] for name in _MODULES})


def __dir__() -> list[str]:
    """The public names, without the modules that define them."""
    return [*__all__, "__version__"]
