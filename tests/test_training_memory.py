"""A training holds what it needs: no dense gradients, no copies, nothing that was freed."""

import tracemalloc

import keras
import numpy as np
import pytest
from forked import Program
from oracle import needs_ops

import keras_sparse as ks
from keras_sparse.rules.mask_update import top_k_mask
from keras_sparse.training import mask_training, mask_updates, masked_optimizer, open_window

KERNEL = 4 * 512 * 1024  # bytes of each of the wide layers, which is large for the ops
WIDE = 6  # layers
RNG = np.random.default_rng(0)
ROWS = RNG.normal(size=(32, 512)).astype("float32")
TARGETS = RNG.normal(size=(32, 4)).astype("float32")


def network():
    """Its activations are few: TensorFlow counts tensors of 256 KiB and more."""
    wide = [
        ks.layers.SparseDense(1024 if i % 2 == 0 else 512, "relu", implementation="custom_op")
        for i in range(WIDE)
    ]
    model = keras.Sequential([keras.Input((512,)), *wide, keras.layers.Dense(4)])
    inner = keras.optimizers.SGD(0.01, momentum=0.9)
    optimizer = ks.SparseMomentum(inner, 0.05, prune_rate=0.3, seed=0)
    optimizer.updates_are_planned = True  # this file makes them
    model.compile(optimizer, "mse", jit_compile=False)
    return model


def peak_of(call):
    """Bytes that TensorFlow's tensors take at most, beyond those that are there before."""
    import tensorflow as tf

    memory = tf.config.experimental
    try:
        memory.reset_memory_stats("CPU:0")
        before = memory.get_memory_info("CPU:0")["current"]
    except ValueError:
        pytest.skip("TensorFlow counts no memory here: oneDNN is off")
    call()
    return memory.get_memory_info("CPU:0")["peak"] - before


def step(model):
    model.fit(ROWS, TARGETS, 32, verbose=0)


@needs_ops
def test_a_closed_step_makes_next_to_nothing_as_large_as_a_kernel():
    model = network()
    model.optimizer.build(model)
    model.optimizer.open_growth_window(False)
    for _ in range(2):
        step(model)
    assert peak_of(lambda: step(model)) < 2 * KERNEL


@needs_ops
def test_masks_are_applied_and_made_without_copies_of_all_weights():
    model = network()
    model.optimizer.build(model)
    assert peak_of(model.optimizer.apply_masks) < 4 * KERNEL
    assert peak_of(model.optimizer.update_masks) < 4 * KERNEL


def test_the_best_scores_are_chosen_with_one_copy_of_them():
    score = RNG.random((512, 1024), dtype=np.float32)
    missing = RNG.random(score.shape) < 0.95
    tracemalloc.start()
    try:
        for among in (None, missing):
            top_k_mask(score, 1000, among)
        most = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert most < 2 * score.nbytes


def test_memory_is_released_after_building_updates_and_dense_gradients(monkeypatch):
    calls = []
    for module in (masked_optimizer, mask_updates, open_window):
        monkeypatch.setattr(module, "release_memory", calls.append)
    model = network()
    optimizer = model.optimizer
    optimizer.build(model)
    assert len(calls) == 1
    optimizer.update_masks()
    assert len(calls) == 2
    optimizer.open_growth_window(True)  # it is open
    optimizer.open_growth_window(False)
    optimizer.open_growth_window(False)  # it is closed
    assert calls == 3 * [optimizer.masked_bytes()]
    assert optimizer.masked_bytes() == 4 * sum(mask.size for mask in optimizer.masks.values())


def test_a_fit_releases_memory_after_the_step_that_makes_lists_of_new_masks(monkeypatch):
    calls = []
    model = network()
    model.optimizer.build(model)

    class Steps(keras.callbacks.Callback):
        def on_train_batch_begin(self, batch, logs=None):
            calls.append("step")

    monkeypatch.setattr(mask_training, "release_memory", lambda _: calls.append("release"))
    callbacks = [ks.UpdateMasks(2), Steps()]
    model.fit(ROWS, TARGETS, 8, verbose=0, callbacks=callbacks)
    assert calls == ["step", "step", "step", "release", "step"]


RELEASE = """
import re
from pathlib import Path
import numpy as np
import tensorflow as tf
from keras_sparse.compute.free_memory import release_memory

def held():
    return 1024 * int(re.search(r"RssAnon:\\s+(\\d+)", Path("/proc/self/status").read_text())[1])

values = [tf.fill((1 << 20,), float(i)) for i in range(40)]  # 4 MiB each
kept = values[5]
full = held()
del values
release_memory(12 << 20)  # small weights are not worth it
release_memory(32 << 20)  # 156 MiB are more than 4 times this
assert full - held() < 8 << 20, (full, held())
release_memory(48 << 20)
assert full - held() > 64 << 20, (full, held())
assert (kept.numpy() == 5).all()
assert (tf.fill((1 << 20,), 7.0).numpy() == 7).all()
print("released")
"""


@needs_ops
def test_what_was_freed_goes_back_to_the_system():
    ended = Program(RELEASE).wait()
    assert ended.stdout.endswith("released\n"), ended
