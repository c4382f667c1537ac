"""UpdateMasks with optimizers that are attributes of the model, or parts of a MultiOptimizer."""

import keras
import pytest
from helpers import active, compiled, fit, sgd, sparse, toy_model

import keras_sparse as ks
from keras_sparse.training.updated_optimizers import build_parts

tf = pytest.importorskip("tensorflow")
pytestmark = pytest.mark.skipif(
    keras.backend.backend() != "tensorflow", reason="its train_step is TensorFlow's"
)


class Pair(keras.Model):
    """Two networks with an optimizer each; the second steps ``often`` times a batch."""

    def __init__(self, often=1):
        super().__init__()
        self.nets, self.often = (
            [
                toy_model(),
                keras.Sequential([keras.Input((8,)), keras.layers.Dense(4, name="single")]),
            ],
            often,
        )

    def compile(self, one, other):
        super().compile()
        self.one, self.others = one, [other]

    def train_step(self, data):
        for net, optimizer, times in zip(
            self.nets, [self.one, *self.others], (1, self.often), strict=True
        ):
            for _ in range(times):
                with tf.GradientTape() as tape:
                    loss = tf.reduce_mean((net(data[0]) - data[1]) ** 2)
                optimizer.apply(
                    tape.gradient(loss, net.trainable_variables), net.trainable_variables
                )
        return {"loss": loss}


def pair(often=1):
    model = Pair(often)
    model.compile(sparse(name="one"), sparse(density=0.5, name="other"))
    return model, model.one, model.others[0]


@pytest.fixture
def updates(monkeypatch):
    """[(name of the optimizer, its step)]"""
    steps, update_masks = [], ks.SparseMomentum.update_masks

    def noting(self):
        steps.append((self.name, self.step()))
        update_masks(self)

    monkeypatch.setattr(ks.SparseMomentum, "update_masks", noting)
    return steps


@pytest.mark.parametrize("given", [True, False])
def test_optimizers_that_are_attributes(updates, given):
    model, one, other = pair()
    callback = ks.UpdateMasks(optimizer=[one, other]) if given else ks.UpdateMasks()
    logs = fit(model, callback).history
    assert sorted(updates) == [("one", 4), ("one", 8), ("other", 4), ("other", 8)]
    assert (active(one), active(other)) == (48, 16)
    assert logs["density"] == [64 / 224] * 3
    assert callback.history["other/sequential/single/kernel"] == [0.5, 0.5, 0.5]


def test_an_optimizer_that_steps_more_often_than_the_model(updates):
    model, one, other = pair(often=3)
    fit(model, ks.UpdateMasks(every=8))
    assert [step for name, step in updates if name == "one"] == [8]
    assert [step for name, step in updates if name == "other"] == [9, 18, 24, 33]
    assert (one.counter("training_stop"), other.counter("training_stop")) == (12, 36)


def test_nothing_is_logged_as_the_density_of_all_while_one_has_no_masks_yet():
    model, one, other = pair(often=0)
    with pytest.warns(UserWarning, match="'other'"):
        logs = fit(model, ks.UpdateMasks()).history
    assert (one.built, other.built) == (True, False)
    assert "density" not in logs


def test_two_callbacks_log_under_the_names_of_their_optimizers():
    model, one, other = pair()
    logs = fit(model, ks.UpdateMasks(optimizer=one), ks.UpdateMasks(optimizer=other)).history
    assert (logs["density/one"][-1], logs["density/other"][-1]) == (0.25, 0.5)
    for optimizer in (one, other):
        assert logs[f"exploration_rate/{optimizer.name}"][-1] == optimizer.exploration_rate()


def test_two_callbacks_for_one_optimizer_are_an_error():
    model, *_ = pair()
    with pytest.raises(
        ValueError, match="`callbacks` must have one UpdateMasks.*both for .'one', 'other'."
    ):
        fit(model, ks.UpdateMasks(), ks.UpdateMasks(every=3))


def test_a_model_that_was_never_called_has_a_summary():
    model, *_ = pair()
    fit(model, ks.UpdateMasks())
    assert not model.built  # as of Keras' example of a GAN: it has only a train_step
    total = ks.summary(model, "dict")["total"]
    assert total["active"] == 0.25 * (128 + 64) + 0.5 * 32
    assert total["other_weights"] == 16 + 4 + 4  # biases


def test_the_one_that_no_callback_has_is_told_at_the_end():
    model, one, _ = pair()
    with pytest.warns(
        UserWarning, match="masks of 'other' did not change in this training"
    ) as caught:
        fit(model, ks.UpdateMasks(optimizer=one))
    assert len(caught) == 1


def test_settings_for_an_optimizer_that_the_model_does_not_use_are_told():
    model = pair()[0]
    model.compile(sgd(), sgd())
    with pytest.warns(
        UserWarning, match=r"made no step in this training.*`UpdateMasks\(optimizer=...\)`"
    ):
        fit(model, ks.UpdateMasks(density=0.25, grow="random", redistribute=None), epochs=2)


def test_a_callback_of_the_users_own_updates_without_a_warning(updates):
    model, one, other = pair()
    for optimizer, net in zip((one, other), model.nets, strict=True):
        optimizer.build(net)
        optimizer.start_training(12)
    update = keras.callbacks.LambdaCallback(
        on_epoch_begin=lambda epoch, logs: epoch and [one.update_masks(), other.update_masks()]
    )
    fit(model, update)
    assert len(updates) == 4


def test_what_is_no_sparse_optimizer_is_an_error():
    with pytest.raises(
        ValueError, match="must be a SparseMomentum or a list of them. Received: SGD"
    ):
        ks.UpdateMasks(optimizer=sgd())
    with pytest.raises(
        ValueError, match="`optimizer` or settings of a new one, not both.*'density'"
    ):
        ks.UpdateMasks(optimizer=sparse(), density=0.1)


@pytest.mark.skipif(
    not hasattr(keras.optimizers, "MultiOptimizer"), reason="Keras has no MultiOptimizer yet"
)
@pytest.mark.parametrize("dtype", ["float32", "mixed_float16"])
def test_one_of_several_in_a_multi_optimizer(updates, policy, dtype):
    policy(dtype)
    inner = sparse(name="inner")
    optimizer = keras.optimizers.MultiOptimizer(
        keras.optimizers.OptimizerMap(keras.optimizers.Adam(), {".*hidden.*": inner})
    )
    model = compiled(optimizer, toy_model())
    logs = fit(model, ks.UpdateMasks(), epochs=2).history
    assert updates == [("inner", 4)]
    assert logs["density"] == [0.25, 0.25]
    assert active(inner) == 32  # of the hidden layer's 128
    assert (keras.ops.convert_to_numpy(model.layers[0].kernel) != 0).sum() <= 32


@pytest.mark.skipif(
    not hasattr(keras.optimizers, "MultiOptimizer"), reason="Keras has no MultiOptimizer yet"
)
def test_parts_are_built_once_and_where_there_is_what_to_train(monkeypatch):
    def of_parts():
        parts = keras.optimizers.OptimizerMap(sgd(), {".*hidden.*": sgd()})
        return keras.optimizers.MultiOptimizer(parts)

    def counted(optimizer, model):
        model.compile(optimizer, "mse")
        calls, build = [], type(optimizer).build
        monkeypatch.setattr(type(optimizer), "build", lambda self, given: calls.append(len(given)))
        build_parts(model)
        monkeypatch.setattr(type(optimizer), "build", build)
        return calls

    frozen, built = toy_model(), of_parts()
    frozen.trainable = False
    built.build(toy_model().trainable_variables)
    assert counted(of_parts(), toy_model()) == [4]
    assert counted(built, toy_model()) == []
    assert counted(of_parts(), frozen) == []
    assert counted(of_parts(), keras.Sequential([keras.layers.Dense(4)])) == []
    assert counted(sgd(), toy_model()) == []
