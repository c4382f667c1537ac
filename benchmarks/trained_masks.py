"""Trains a network with sparse momentum for a while and writes its masks, or its densities.

    # benchmarks/data/wrn_16_4_masks.npz, 5 minutes
    python -m benchmarks.trained_masks --data cifar-10-python.tar.gz
    # densities of WRN-16-8 and VGG16-D, 10 minutes
    python -m benchmarks.trained_masks --data cifar-10-python.tar.gz --densities

A training moves weights between layers, and prefers some channels of a layer. The .npz file holds
the mask of each 3x3 convolution between equal numbers of channels, as bits, under the name
``path@pixels x shape``. ``conv_ops.py --masks`` reads it. The .json file holds the density of every
layer; ``train_step.py --trained`` reads it.
"""

import argparse
import json
from pathlib import Path

import keras
import numpy as np

import keras_sparse as ks
from benchmarks import classifier, options, report
from examples.data import load_cifar10
from examples.models import vgg16_d, wide_resnet

BATCH, UPDATES = 64, 10
DATA = report.ROOT / "benchmarks" / "data"
MASKS, DENSITIES = DATA / "wrn_16_4_masks.npz", DATA / "trained_densities.json"


def main() -> None:
    """Trains and writes."""
    arguments = _arguments()
    DATA.mkdir(parents=True, exist_ok=True)
    if arguments.densities:
        models = {"WRN-16-8": wide_resnet(16, 8), "VGG16-D": vgg16_d()}
        found = {name: densities(trained(model, arguments)) for name, model in models.items()}
        DENSITIES.write_text(json.dumps(found, indent=1) + "\n")
    else:
        np.savez_compressed(MASKS, **packed_masks(trained(wide_resnet(16, 4), arguments)))


def trained(model: keras.Model, arguments: argparse.Namespace) -> keras.Model:
    """The model after some steps on CIFAR-10."""
    keras.utils.set_random_seed(0)
    images = load_cifar10(arguments.data)
    sgd = keras.optimizers.SGD(0.05, momentum=0.9, nesterov=True)
    classifier.compiled(model, ks.SparseMomentum(sgd, density=arguments.density))
    chosen = np.random.default_rng(0).permutation(len(images.x_train))[: arguments.steps * BATCH]
    callbacks = [ks.UpdateMasks(every=arguments.steps // UPDATES)]
    model.fit(images.x_train[chosen], images.y_train[chosen], BATCH, verbose=2, callbacks=callbacks)
    return model


def densities(model: keras.Model) -> dict[str, float]:
    """{path of the weight: active / all weights}"""
    return {path: round(float(mask.mean()), 4) for path, mask in model.optimizer.masks.items()}


def packed_masks(model: keras.Model) -> dict[str, np.ndarray]:
    """The masks of the 3x3 convolutions of stride 1 between equal numbers of channels."""
    masks, packed = model.optimizer.masks, {}
    for layer in model.layers:
        if not isinstance(layer, keras.layers.Conv2D):
            continue
        height, width, channels_in, channels_out = layer.kernel.shape
        if (height, width) == (3, 3) and channels_in == channels_out:
            path = layer.kernel.path
            sizes = "x".join(map(str, (layer.input.shape[1], *layer.kernel.shape)))
            packed[f"{path.replace('/', '.')}@{sizes}"] = np.packbits(masks[path])
    return packed


def _arguments() -> argparse.Namespace:
    parser = options.parser(__doc__)
    add = parser.add_argument
    instead = f"write {DENSITIES.name} instead of {MASKS.name}"
    add("--data", type=Path, help="CIFAR-10, a .tar.gz or .npz file; default: keras.datasets")
    add("--densities", action="store_true", help=instead)
    add("--density", type=float, default=0.05)
    add("--steps", type=int, default=300, help="up to those of an epoch")
    return parser.parse_args()


if __name__ == "__main__":
    main()
