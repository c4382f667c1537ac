"""The ImageNet example trains a narrow ResNet-50 on small images, keeps its density, exports."""

import csv
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
from forked import script

pytestmark = pytest.mark.slow
tf = pytest.importorskip("tensorflow")

ROOT = Path(__file__).resolve().parents[1]
SMALL = (
    "--image-size",
    "32",
    "--width",
    "8",
    "--batch",
    "8",
    "--steps",
    "2",
    "--epochs",
    "2",
    "--density",
    "0.2",
)
MASKED = 623_512  # kernel weights of ResNet-50 at width 8
ACTIVE = 124_702  # 0.2 * 623,512, rounded


def write_records(path, images, rng):
    """JPEGs of noise, of many shapes, as ImageNet's TFRecords hold them."""
    with tf.io.TFRecordWriter(str(path)) as writer:
        for _ in range(images):
            shape = (*rng.integers(40, 80, 2), 3)
            encoded = tf.io.encode_jpeg(rng.integers(0, 256, shape, np.uint8)).numpy()
            label = int(rng.integers(1, 1001))
            features = {
                "image/encoded": tf.train.Feature(bytes_list=tf.train.BytesList(value=[encoded])),
                "image/class/label": tf.train.Feature(int64_list=tf.train.Int64List(value=[label])),
            }
            writer.write(
                tf.train.Example(features=tf.train.Features(feature=features)).SerializeToString()
            )


def run_example(*arguments):
    program = ROOT / "examples" / "imagenet_resnet50_tpu.py"
    ended = script(program, *SMALL, *arguments, PYTHONPATH=str(ROOT)).wait()
    assert ended.returncode == 0, ended.stdout + ended.stderr


def log_of(folder):
    with (folder / "log.csv").open() as file:
        return list(csv.DictReader(file))


@pytest.fixture
def records(tmp_path):
    rng = np.random.default_rng(0)
    for name, images in (
        ("train-0", 10),
        ("train-1", 9),
        ("validation-0", 11),
    ):  # 11: the last batch of 8 is filled up
        write_records(tmp_path / name, images, rng)
    return tmp_path


def test_training_from_records_keeps_the_density_and_exports(records, tmp_path):
    run_example("--data", records, "--output", tmp_path / "run")
    epochs = log_of(tmp_path / "run")
    assert [float(epoch["density"]) for epoch in epochs] == [ACTIVE / MASKED] * 2
    assert all(np.isfinite(float(epoch["val_loss"])) for epoch in epochs)
    served = tf.saved_model.load(str(tmp_path / "run" / "served"))
    assert served.serve(tf.zeros((3, 32, 32, 3))).shape == (3, 1000)
    kernels = [variable.numpy() for variable in served.variables if len(variable.shape) > 1]
    assert sum(kernel.size for kernel in kernels) == MASKED
    assert (
        0.99 * ACTIVE < sum(np.count_nonzero(kernel) for kernel in kernels) <= ACTIVE
    )  # few active weights are 0: behind dead channels


@pytest.mark.parametrize(("batch", "batches"), [(1, 11), (4, 3), (11, 1), (16, 1)])
def test_validation_shows_every_image_once_and_fills_up_the_last_batch(records, batch, batches):
    from examples.imagenet_data import validation_batches

    read = list(
        validation_batches(str(records), batch, image_size=8, classes=1000, dtype="bfloat16")
    )
    assert len(read) == batches
    assert all(
        images.shape == (batch, 8, 8, 3) and images.dtype == "bfloat16" for images, _, _ in read
    )
    weights, labels = (np.concatenate([one[k] for one in read]) for k in (2, 1))
    assert weights.tolist() == [1.0] * 11 + [0.0] * (batch * batches - 11)
    assert labels.sum(axis=1).tolist() == weights.tolist()  # one label each, and none


def small_network(image_size, classes, width, l2=0.0, policy="float32"):
    """216 + 8,000 kernel weights at width 8, with inputs and outputs as of ResNet-50."""
    dtype = keras.DTypePolicy(policy).compute_dtype
    return keras.Sequential(
        [
            keras.Input((image_size, image_size, 3), dtype=dtype),
            keras.layers.Conv2D(width, 3, dtype=policy),
            keras.layers.GlobalAveragePooling2D(dtype=policy),
            keras.layers.Dense(classes, dtype="float32"),
        ]
    )


def test_noise_will_do_to_try_it(tmp_path, monkeypatch):
    """With a small network: the training of a ResNet-50 is above."""
    from examples import imagenet_resnet50_tpu as example

    monkeypatch.setattr(example, "resnet_50", small_network)
    monkeypatch.setattr(sys, "argv", ["", *SMALL, "--synthetic", "--output", str(tmp_path)])
    example.main()
    active = 1643  # 0.2 * 8216, rounded
    assert [float(epoch["density"]) for epoch in log_of(tmp_path)] == [active / 8216] * 2
    assert (tmp_path / "served" / "saved_model.pb").exists()


def test_the_model_of_the_recipe_is_resnet_50_in_bfloat16():
    from examples.imagenet_resnet50_tpu import train_model

    model = train_model()
    assert (model.inputs[0].shape, model.inputs[0].dtype, model.outputs[0].dtype) == (
        (None, 224, 224, 3),
        "bfloat16",
        "float32",
    )
    assert (
        sum(np.prod(weight.shape) for weight in model.trainable_variables if len(weight.shape) > 1)
        == 25_502_912
    )
    assert all(weight.dtype == "float32" for weight in model.trainable_variables)
    assert not model.jit_compile


@pytest.mark.parametrize(
    ("step", "rate"), [(0, 0.1), (4, 0.5), (9, 1.0), (29, 1.0), (30, 0.1), (59, 0.1), (60, 0.01)]
)
def test_the_learning_rate_rises_then_falls(step, rate):
    from examples.training import WarmUpAndSteps

    schedule = WarmUpAndSteps.from_config(
        WarmUpAndSteps(peak=1.0, warm_up=10, falls=(30, 60)).get_config()
    )
    assert float(schedule(step)) == pytest.approx(rate)


def test_the_cifar10_example_gives_its_sparse_model():
    from examples.cifar10 import train_model

    model = train_model()
    assert model.inputs[0].shape == (None, 32, 32, 3)
    assert model.optimizer.density == 0.1
