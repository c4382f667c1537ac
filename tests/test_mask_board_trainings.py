"""MaskTensorBoard in trainings: steps, other callbacks, resumed ones, several devices."""

import copy
import sys

import keras
import pytest
from board_files import HEAD, HIDDEN, known_masks, points, read
from helpers import Interrupt, compiled, fit, sgd, sparse, toy_data, toy_model
from replicas import run
from workers import blocks_of, run_workers

import keras_sparse as ks

backend = pytest.mark.backend


@pytest.fixture
def board(tmp_path):
    """A callback that writes to a folder, and what is in it afterwards."""
    return ks.MaskTensorBoard(tmp_path)


@backend
@pytest.mark.parametrize("ours_first", [True, False])
def test_updates_are_written_at_the_step_at_which_they_are_made(board, tmp_path, ours_first):
    callbacks = [board, ks.UpdateMasks("epoch")]
    model = compiled()
    fit(model, *(callbacks if ours_first else reversed(callbacks)), epochs=3)
    found = read(tmp_path)
    pruned = points(found, "total/pruned")
    assert [step for step, _ in pruned] == [0, 4, 8]
    assert pruned[1][1] > pruned[0][1] == 0
    assert [v for _, v in pruned] == [v for _, v in points(found, "total/grown")]
    rates = [value for _, value in points(found, "total/exploration_rate")]
    assert rates[-1] == pytest.approx(model.optimizer.exploration_rate())
    assert [step for step, _ in points(found, "epoch_total/density")] == [0, 1, 2]
    last = {path: points(found, f"density/{path}")[-1][1] for path in (HIDDEN, HEAD)}
    assert last == {path: mask.mean() for path, mask in model.optimizer.masks.items()}
    total = ks.summary(model, "dict")["total"]
    assert points(found, "total/multiply_adds")[-1][1] == total["multiply_adds_sparse"]


def test_pruning_at_the_end_is_an_update(board, tmp_path):
    model = compiled(ks.GradualPruning(sgd(), 0.25, seed=0))
    fit(model, board, ks.UpdateMasks("epoch"), epochs=3)
    found = read(tmp_path)
    assert points(found, "total/density")[-1][1] == 0.25
    assert points(found, "total/density")[0] == (0, 1)
    assert sum(value for _, value in points(found, "total/pruned")) == 144
    assert not any(value for _, value in points(found, "total/grown"))


@backend
def test_beside_keras_callback_in_one_folder(board, tmp_path):
    tensorboard = keras.callbacks.TensorBoard(str(tmp_path), update_freq=2)
    fit(compiled(), tensorboard, board, ks.UpdateMasks("epoch"), epochs=2)
    assert sorted(path.name for path in tmp_path.iterdir() if path.is_dir()) == ["masks", "train"]
    train, masks = read(tmp_path, "train"), read(tmp_path)
    assert points(train, "epoch_density") == points(masks, "epoch_total/density")
    # Keras records every second batch here; ours are all there
    assert [step for step, _ in points(masks, "total/density")] == [0, 4]


@backend
def test_a_resumed_training_goes_on_at_its_steps(tmp_path):
    def train(epochs, initial_epoch=0):
        callbacks = [ks.MaskTensorBoard(tmp_path), ks.UpdateMasks("epoch")]
        fit(model, *callbacks, epochs=epochs, initial_epoch=initial_epoch)

    model = compiled()
    train(2)
    model.save(tmp_path / "model.keras")
    model = keras.models.load_model(tmp_path / "model.keras")
    train(4, initial_epoch=2)
    found = read(tmp_path)
    assert [step for step, _ in points(found, "total/density")] == [0, 4, 8, 12]
    assert [step for step, _ in points(found, "epoch_total/density")] == [0, 1, 2, 3]


def test_a_backup_restores_the_steps_before_anything_is_written(tmp_path):
    def callbacks():
        return [
            ks.MaskTensorBoard(tmp_path / "logs"),
            ks.BackupAndRestore(tmp_path / "backup"),
            ks.UpdateMasks("epoch"),
        ]

    with pytest.raises(KeyboardInterrupt):
        fit(compiled(), *callbacks(), Interrupt(2, 1), epochs=4)
    keras.utils.clear_session()
    fit(compiled(), *callbacks(), epochs=4)
    steps = [step for step, _ in points(read(tmp_path / "logs"), "total/density")]
    assert steps == [0, 4, 8, 8, 12]  # the epoch that was interrupted is trained again


@backend
def test_a_model_that_its_first_batch_builds(board, tmp_path):
    model = keras.Sequential([keras.layers.Dense(16, name="hidden"), keras.layers.Dense(4)])
    fit(compiled(model=model), board, ks.UpdateMasks("epoch"), epochs=2)
    steps = [step for step, _ in points(read(tmp_path), "total/density")]
    assert steps in ([0, 4], [1, 4])  # TensorFlow builds it while it traces the first step


@pytest.mark.parametrize("settings", [{"density": 0.25}, {}])
def test_the_callback_that_wraps_and_a_loss_scale(board, tmp_path, settings):
    optimizer = sgd() if settings else keras.optimizers.LossScaleOptimizer(sparse())
    fit(compiled(optimizer), board, ks.UpdateMasks("epoch", **settings), epochs=2)
    assert points(read(tmp_path), "total/density")[-1] == (4, 0.25)


def test_two_optimizers_of_one_model(board, tmp_path):
    if not hasattr(keras.optimizers, "MultiOptimizer"):
        pytest.skip("Keras has no MultiOptimizer")
    model = toy_model()
    left, right = sparse(name="left"), sparse(name="right", density=0.5)
    parts = keras.optimizers.OptimizerMap(right, {".*hidden.*": left})
    optimizer = keras.optimizers.MultiOptimizer(parts)
    fit(compiled(optimizer, model), board, ks.UpdateMasks("epoch"), epochs=2)
    found = read(tmp_path)
    assert points(found, f"density/left/{HIDDEN}") == [(0, 0.25), (4, 0.25)]
    assert points(found, "total/right/density") == [(0, 0.5), (4, 0.5)]
    assert points(found, "total/left/multiply_adds")[0] == (0, 64)


@backend
def test_in_your_own_loop(board, tmp_path):
    model = compiled(sparse(initial_masks=known_masks()))
    model.optimizer.build(model)
    board.set_model(model)
    board.on_train_begin()
    model.optimizer.start_training(8)
    for step in range(4):
        if step == 2:
            model.optimizer.update_masks()
        model.train_on_batch(*toy_data())
        _ = board.model
    board.on_train_end()
    assert [step for step, _ in points(read(tmp_path), "total/pruned")] == [2]
    model.optimizer.update_masks()
    assert len(points(read(tmp_path), "total/pruned")) == 1


def test_switches_and_optimizers_without_momentum(tmp_path):
    plain = keras.optimizers.SGD(0.05)
    model = compiled(ks.StaticSparsity(plain, 0.25))
    fit(model, ks.MaskTensorBoard(tmp_path / "a"), ks.UpdateMasks(), epochs=1)
    tags = read(tmp_path / "a").Tags()["tensors"]
    assert f"weights/{HIDDEN}" in tags
    assert f"momentum/{HIDDEN}" not in tags
    quiet = ks.MaskTensorBoard(str(tmp_path / "b"), write_histograms=False, write_images=False)
    fit(compiled(), quiet, ks.UpdateMasks(), epochs=2)
    kinds = {tag.split("/")[0] for tag in read(tmp_path / "b").Tags()["tensors"]}
    update = {"density", "exploration_rate", "pruned", "grown", "total"}
    assert kinds == update | {"epoch_density", "epoch_exploration_rate", "epoch_total"}


def test_copies_of_an_optimizer_have_no_watchers(board):
    optimizer = sparse()
    optimizer.watchers.add(board)
    copied = copy.deepcopy(optimizer.watchers)
    assert type(copied) is type(optimizer.watchers)
    copied.tell(optimizer, [], [])  # the board, which has no model yet, would raise
    with pytest.raises(AttributeError):
        optimizer.watchers.tell(optimizer, [], [])


def test_a_fit_that_was_interrupted_writes_no_more(tmp_path):
    model, stale = compiled(), ks.MaskTensorBoard(tmp_path / "stale")
    with pytest.raises(KeyboardInterrupt):
        fit(model, stale, ks.UpdateMasks("epoch"), Interrupt(0, 1), epochs=2)
    fit(model, ks.MaskTensorBoard(tmp_path / "new"), ks.UpdateMasks("epoch"), epochs=2)
    assert [step for step, _ in points(read(tmp_path / "stale"), "total/pruned")] == [0]
    assert len(points(read(tmp_path / "new"), "total/pruned")) == 2


def test_a_model_without_a_sparse_momentum(board):
    with pytest.raises(ValueError, match="There is no SparseMomentum"):
        fit(compiled(sgd()), board, epochs=1)


def test_without_tensorboard(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "tensorboard", None)
    with pytest.raises(ImportError, match="needs tensorboard: pip install tensorboard"):
        ks.MaskTensorBoard(tmp_path)


def test_a_frozen_layer_has_figures_and_no_arrays(board, tmp_path):
    model = compiled()
    model.optimizer.build(model)
    model.get_layer("hidden").trainable = False
    compiled(model.optimizer, model)
    fit(model, board, ks.UpdateMasks("epoch"), epochs=2)
    found = read(tmp_path)
    assert [value for _, value in points(found, f"density/{HIDDEN}")] == [0.25] * 2
    assert f"mask/{HIDDEN}" not in found.Tags()["tensors"]
    assert f"mask/{HEAD}" in found.Tags()["tensors"]


@pytest.mark.slow
def test_on_two_devices_one_file_is_written():
    out = run("""
import tempfile, pathlib
folder = tempfile.mkdtemp()
with mirrored.scope():
    model = compiled(ks.SparseMomentum(sgd(), 0.25, seed=0))
fit(model, ks.MaskTensorBoard(folder), ks.UpdateMasks("epoch"), epochs=2)
check(model, 48, 2)
files = list(pathlib.Path(folder, "masks").iterdir())
shown = [
    (event.step, float(tf.make_ndarray(value.tensor)))
    for event in tf.compat.v1.train.summary_iterator(str(files[0]))
    for value in event.summary.value
    if value.tag == "total/multiply_adds"
]
print(len(files), *shown)
""")
    assert out == ["1", "(0,", "48.0)", "(4,", "48.0)"]


def test_of_several_workers_the_first_one_writes(tmp_path):
    program = f"""
import os, json, pathlib
import tensorflow as tf
strategy = tf.distribute.MultiWorkerMirroredStrategy()
import keras_sparse as ks
from helpers import built
with strategy.scope():
    model = built()
index = json.loads(os.environ["TF_CONFIG"])["task"]["index"]
folder = pathlib.Path({str(tmp_path)!r}, str(index))
board = ks.MaskTensorBoard(folder)
board.set_model(model)
board.on_train_begin()
model.optimizer.set_masks(model.optimizer.masks)
board.on_train_end()
print(len(list(folder.glob("masks/*"))))
"""
    assert [out.split()[-1] for out in run_workers(program, 2)] == ["1", "0"]


BOARD = """
import json, os
index = json.loads(os.environ.get("TF_CONFIG", '{"task": {"index": 0}}'))["task"]["index"]
board = ks.MaskTensorBoard(f"FOLDER/{index}")
"""
BOARD_OF_A_LOOP = BOARD + "board.set_model(model)\nboard.on_train_begin()\n"


def on_two_workers(block, place, replacement, folder):
    """The run of the first worker, and that the second one wrote nothing."""
    assert block.count(place) == 1
    program = block.replace(place, replacement.replace("FOLDER", str(folder)))
    run_workers(program, 2)
    assert [path.name for path in folder.iterdir()] == ["0"]
    return read(folder / "0")


def test_fit_on_two_workers_as_documented_writes_once(tmp_path):
    fit_block, place = blocks_of("distribution.md")[1], "    callbacks = ["
    board = BOARD.replace("\n", "\n    ") + "\n    callbacks = [board, "
    found = on_two_workers(fit_block, place, board, tmp_path)
    steps = [step for step, _ in points(found, "total/pruned")]
    assert steps[0] == 0
    assert steps == sorted(set(steps))
    assert len(steps) > 3
    assert sum(value for _, value in points(found, "total/grown")) > 0
    assert [step for step, _ in points(found, "epoch_total/density")] == [0, 1, 2]
    kernel = "sequential/dense/kernel"
    assert {f"mask/{kernel}", f"weights/{kernel}", f"momentum/{kernel}"} <= set(
        found.Tags()["tensors"]
    )


@pytest.mark.slow
def test_the_documented_loop_on_two_workers_writes_once(tmp_path):
    loop, place = blocks_of("distribution.md")[0], "optimizer.start_training(EPOCHS * STEPS)\n"
    found = on_two_workers(loop, place, BOARD_OF_A_LOOP + place, tmp_path)
    assert [step for step, _ in points(found, "total/pruned")] == [20, 40]
    assert all(value > 0 for _, value in points(found, "total/grown"))
