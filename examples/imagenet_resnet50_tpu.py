"""Trains a sparse ResNet-50 on ImageNet, on a TPU.

    # on a TPU VM
    python examples/imagenet_resnet50_tpu.py --tpu local --data gs://bucket/imagenet
    # anywhere, to try it
    python examples/imagenet_resnet50_tpu.py --synthetic --image-size 32 --width 8 --batch 8 \\
        --steps 2 --epochs 2

This is the tuned recipe of the sparse momentum paper: SGD, five epochs of warm-up, and a tenth of
the learning rate from epochs 30, 60 and 80 on; fewer epochs keep the proportions. It uses label
smoothing, an L2 penalty on kernels only, and masks that change every epoch. The learning rate is
proportional to the batch. The paper
reports 73.07, 74.91 and 75.92 % accuracy on the validation images, with 10, 20 and 30 % of the
weights.

This file has not been run on a TPU. Masks make the network sparse there and save no time, because
TPUs compute densely.

If a training was killed, the same command resumes it after the last finished epoch. The export is
float32, for any TensorFlow.
"""

import argparse
import dataclasses
import sys
from pathlib import Path

import keras
import tensorflow as tf

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import keras_sparse as ks
from examples.imagenet_data import (
    TRAINING_IMAGES,
    synthetic_batches,
    training_batches,
    validation_batches,
)
from examples.recipes import RECIPES
from examples.resnet import resnet_50
from examples.training import loss, sgd

PAPER = RECIPES["imagenet"]
CLASSES = 1000


@dataclasses.dataclass(frozen=True)
class Recipe:
    """How to train; a batch is that of all replicas together."""

    density: float = 0.1  # active / all kernel weights
    batch: int = 1024
    epochs: int = PAPER.epochs
    steps: int = TRAINING_IMAGES // 1024  # of an epoch
    image_size: int = 224
    width: int = 64
    policy: str = "mixed_bfloat16"
    seed: int = 0


def train_model(recipe: Recipe | None = None) -> keras.Model:
    """The network, compiled by this recipe (default: the paper's), in the scope of a strategy."""
    recipe = recipe or Recipe()
    keras.utils.set_random_seed(recipe.seed)
    model = resnet_50(recipe.image_size, CLASSES, recipe.width, PAPER.l2 / 2, recipe.policy)
    highest = PAPER.learning_rate * recipe.batch / PAPER.batch
    inner = sgd(PAPER, recipe.epochs * recipe.steps, highest)
    prune_rate = ks.CosineOverTraining(*PAPER.prune_rate)
    optimizer = ks.SparseMomentum(inner, recipe.density, prune_rate=prune_rate, seed=recipe.seed)
    # Keras would compile around `strategy.run`; TPUStrategy already compiles what is inside.
    model.compile(optimizer, loss(PAPER), weighted_metrics=["accuracy"], jit_compile=False)
    return model


def main() -> None:
    """Trains, or goes on, and exports."""
    arguments = _arguments()
    recipe = _recipe(arguments)
    with _strategy(arguments.tpu).scope():
        model = train_model(recipe)
    shape = (recipe.batch, recipe.image_size, CLASSES, model.inputs[0].dtype)
    if arguments.synthetic:
        batches = synthetic_batches(*shape)
        validation = batches.take(1)
    else:
        batches, validation = (
            training_batches(arguments.data, *shape),
            validation_batches(arguments.data, *shape),
        )
    output = arguments.output
    output.mkdir(parents=True, exist_ok=True)
    callbacks = [
        ks.UpdateMasks(),
        ks.BackupAndRestore(output / "backup"),
        keras.callbacks.CSVLogger(output / "log.csv", append=True),
    ]
    verbose = 1 if sys.stdout.isatty() else 2
    model.fit(
        batches,
        epochs=recipe.epochs,
        steps_per_epoch=recipe.steps,
        validation_data=validation,
        callbacks=callbacks,
        verbose=verbose,
        shuffle=False,
    )
    ks.summary(model)
    export_float32(model, recipe, output / "served")


def export_float32(model: keras.Model, recipe: Recipe, path: Path) -> None:
    """The same weights in a float32 network without a strategy, to serve without a TPU."""
    served = resnet_50(recipe.image_size, CLASSES, recipe.width)
    served.set_weights(model.get_weights())
    ks.export(served, path, verbose=False)
    print(f"wrote {path}")


def _strategy(tpu: str | None) -> tf.distribute.Strategy:
    """All cores of a TPU ("local" on a TPU VM), or the default strategy: one CPU or GPU."""
    if tpu is None:
        return tf.distribute.get_strategy()
    resolver = tf.distribute.cluster_resolver.TPUClusterResolver(tpu=tpu)
    tf.config.experimental_connect_to_cluster(resolver)
    tf.tpu.experimental.initialize_tpu_system(resolver)
    return tf.distribute.TPUStrategy(resolver)


def _recipe(arguments: argparse.Namespace) -> Recipe:
    given = {
        field.name: value
        for field in dataclasses.fields(Recipe)
        if (value := getattr(arguments, field.name, None)) is not None
    }
    recipe = dataclasses.replace(Recipe(), **given)
    return (
        recipe
        if arguments.steps
        else dataclasses.replace(recipe, steps=max(1, TRAINING_IMAGES // recipe.batch))
    )


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--data", help="folder of TFRecords, train-* and validation-*")
    source.add_argument("--synthetic", action="store_true", help="noise in place of images")
    parser.add_argument(
        "--tpu", help='name or address of a TPU; "local" on a TPU VM; default: no TPU'
    )
    parser.add_argument("--density", type=float, help="active / all kernel weights, in (0, 1]")
    parser.add_argument(
        "--batch", type=int, help="images of all replicas together; a multiple of their number"
    )
    parser.add_argument("--epochs", type=int)
    parser.add_argument("--steps", type=int, help="of an epoch; default: all of ImageNet")
    parser.add_argument("--image-size", type=int, help="pixels")
    parser.add_argument("--width", type=int, help="channels of the first stage")
    parser.add_argument("--policy", help='of dtypes: "mixed_bfloat16" or "float32"')
    parser.add_argument("--seed", type=int)
    parser.add_argument(
        "--output",
        type=Path,
        default=Path("imagenet_run"),
        help="folder for the backup, the log and the export",
    )
    return parser.parse_args()


if __name__ == "__main__":
    main()
