"""The check of every batch, MasksHold, fails for each way in which a step can lose the masks."""

import keras
import pytest
from helpers import MasksHold, assert_masks_hold, built, compiled, fit, sgd, sparse, toy_model

import keras_sparse as ks
from keras_sparse.training import fused_steps, masked_steps

pytestmark = pytest.mark.backend
needs_fused_step = pytest.mark.skipif(
    keras.backend.backend() != "tensorflow" or not ks.ops.available(), reason="no custom ops here"
)


def without_fused_step(monkeypatch):
    monkeypatch.setattr(fused_steps, "_can_mask", lambda optimizer, variable: False)


def fit_fails(*callbacks, **arguments):
    with pytest.raises(AssertionError, match=r"missing weights of .*kernel are not \+0.0"):
        fit(compiled(**arguments), ks.UpdateMasks(), *callbacks)


@pytest.mark.parametrize("jit_compile", [True, False])
def test_steps_that_mask_nothing_fail(monkeypatch, jit_compile):
    without_fused_step(monkeypatch)
    monkeypatch.setattr(masked_steps, "apply_masks", lambda weights: None)
    fit_fails(jit_compile=jit_compile)


def test_masks_that_are_applied_at_the_ends_of_epochs_alone_fail(monkeypatch):
    left = []
    without_fused_step(monkeypatch)
    monkeypatch.setattr(masked_steps, "apply_masks", left.append)

    class Late(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            self.model.optimizer.apply_masks()

    fit_fails(Late())
    assert left  # the patch is where steps multiply


@pytest.mark.parametrize("forgotten", [0, 1])
def test_a_step_that_forgets_one_weight_fails(monkeypatch, forgotten):
    without_fused_step(monkeypatch)
    apply_masks = masked_steps.apply_masks

    def all_but_one(weights):
        apply_masks([one for i, one in enumerate(weights) if i != forgotten])

    monkeypatch.setattr(masked_steps, "apply_masks", all_but_one)
    fit_fails()


@needs_fused_step
@pytest.mark.parametrize("layers", [toy_model, lambda: ks.sparsify(toy_model())])
def test_a_fused_step_that_ignores_the_mask_of_one_input_fails(monkeypatch, layers):
    import tensorflow as tf

    class Library:
        @staticmethod
        def keras_sparse_apply_masked_momentum(weight, momentum, mask, *rest, **options):
            seen = tf.concat([tf.ones_like(mask[:1]), mask[1:]], axis=0)
            operation = own_library().keras_sparse_apply_masked_momentum
            operation(weight, momentum, seen, *rest, **options)

    own_library = fused_steps.library
    monkeypatch.setattr(fused_steps, "library", Library)
    fit_fails(model=layers(), jit_compile=False)


def test_a_mask_update_that_leaves_the_pruned_weights_fails(monkeypatch):
    optimizer, model = sparse(), toy_model()
    optimizer.build(model)
    monkeypatch.setattr(ks.SparseMomentum, "assign_masks", ks.SparseMomentum.put_masks)
    fit_fails(optimizer=optimizer, model=model)


def test_the_optimizer_of_a_wrapper_is_checked(monkeypatch):
    without_fused_step(monkeypatch)
    monkeypatch.setattr(masked_steps, "apply_masks", lambda weights: None)
    fit_fails(optimizer=keras.optimizers.LossScaleOptimizer(sparse()))
    parts = keras.optimizers.OptimizerMap(sgd(), {".*hidden.*": sparse()})
    fit_fails(optimizer=keras.optimizers.MultiOptimizer(parts))


def test_masks_that_hold_pass():
    check = MasksHold()
    fit(compiled(), ks.UpdateMasks(), check, epochs=2)
    assert check.ends == 8
    assert_masks_hold(built().optimizer)
