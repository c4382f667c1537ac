"""How the sparse momentum paper trains each of its networks; nothing here needs Keras.

Source: Dettmers & Zettlemoyer 2019, and the authors' code where the paper is silent.
"""

import dataclasses
import re

# Every method: its preset in keras_sparse, and settings. One line adds one to all examples.
METHODS: dict[str, tuple[str, dict[str, str]]] = {
    "SparseMomentum": ("SparseMomentum", {}),
    "RigL": ("RigL", {}),
    "SET": ("SET", {}),
    "StaticSparsity": ("StaticSparsity", {}),
    "GradualPruning": ("GradualPruning", {}),
    "GraNet": ("GraNet", {}),
    "ACDC": ("ACDC", {}),
    "SNIP": ("StaticSparsity", {"initial_masks": "snip"}),
}

NETWORKS = (
    *("lenet-300-100", "lenet-5", "alexnet-s", "alexnet-b"),
    *("vgg16-c", "vgg16-d", "vgg16-like", "wrn-DEPTH-WIDTH", "resnet-50"),
)
WRN_DROPOUT = 0.3
IMAGENET_STEPS = 1_281_167 // 256  # of an epoch


@dataclasses.dataclass(frozen=True)
class Recipe:
    """SGD with a momentum of 0.9, and a learning rate that falls in steps.

    Args:
        data: ``"mnist"``, ``"cifar10"`` or ``"imagenet"``.
        batch: images in a batch.
        epochs: of the whole training.
        steps: optimizer steps of the whole training.
        falls: steps of the whole training at which the learning rate is multiplied by ``factor``.
        factor: see ``falls``.
        warm_up: steps in which the learning rate rises from 0.
        learning_rate: of the first step after the warm-up.
        nesterov: the kind of momentum.
        l2: the gradient of the penalty is ``l2 * w``, for all parameters (ImageNet: for kernels).
        dropout: in the blocks of a wide ResNet.
        augment: move and mirror the images.
        validation: share of the training images, its last ones, that validates.
        label_smoothing: share of the label that goes to all classes.
        prune_rate: of sparse momentum, at the first and the last step; a cosine between them.
    """

    data: str
    batch: int
    epochs: int
    steps: int
    falls: tuple[int, ...]
    factor: float = 0.1
    warm_up: int = 0
    learning_rate: float = 0.1
    nesterov: bool = True
    l2: float = 5e-4
    dropout: float = 0.0
    augment: bool = True
    validation: float = 0.1
    label_smoothing: float = 0.0
    prune_rate: tuple[float, float] = (0.5, 0.005)

    def falls_in(self, steps: int) -> tuple[int, ...]:
        """The falls of a training of this number of steps, in the recipe's proportions.

        >>> RECIPES["mnist"].falls_in(5_400)  # a tenth of the recipe's 54,000
        (2500, 5000)
        """
        return tuple(round(fall * steps / self.steps) for fall in self.falls)

    def warm_up_in(self, steps: int) -> int:
        """Steps of warm-up of a training of this number of steps."""
        return round(self.warm_up * steps / self.steps)


RECIPES = {
    "mnist": Recipe("mnist", 100, 100, 100 * 540, (25_000, 50_000), augment=False),
    # The authors' last batch of an epoch is smaller; ours leaves it out: 351 steps, not 352.
    "cifar10": Recipe("cifar10", 128, 250, 250 * 351, (30_000, 60_000)),
    # As in the comparison with Mostafa & Wang 2019, on all training images.
    "wrn-28": Recipe(
        *("cifar10", 100, 200, 200 * 500, (60 * 500, 120 * 500, 160 * 500)),
        factor=0.2,
        dropout=WRN_DROPOUT,
        validation=0.0,
    ),
    "imagenet": Recipe(
        *("imagenet", 256, 100, 100 * IMAGENET_STEPS),
        falls=(30 * IMAGENET_STEPS, 60 * IMAGENET_STEPS, 80 * IMAGENET_STEPS),
        warm_up=5 * IMAGENET_STEPS,
        nesterov=False,
        l2=1e-4,
        validation=0.0,
        label_smoothing=0.1,
        prune_rate=(0.2, 0.005),
    ),
}


def recipe(name: str) -> Recipe:
    """The recipe of a network, e.g. of ``"lenet-5"``, ``"vgg16-d"`` or ``"wrn-16-8"``.

    >>> recipe("wrn-28-2").batch, recipe("wrn-16-8").batch
    (100, 128)
    """
    if name in ("lenet-300-100", "lenet-5"):
        return RECIPES["mnist"]
    if name in ("alexnet-s", "alexnet-b", "vgg16-c", "vgg16-d", "vgg16-like"):
        return RECIPES["cifar10"]
    if name == "resnet-50":
        return RECIPES["imagenet"]
    if re.fullmatch(r"wrn-28-\d+", name):
        return RECIPES["wrn-28"]
    if re.fullmatch(r"wrn-\d+-\d+", name):
        return dataclasses.replace(RECIPES["cifar10"], dropout=WRN_DROPOUT)
    raise ValueError(f"`name` must be one of {NETWORKS}. Received: name={name!r}")
