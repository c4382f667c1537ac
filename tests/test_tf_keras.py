"""Models and optimizers of Keras 2 raise an error that says so."""

import keras
import pytest
from helpers import compiled, sgd, toy_model

import keras_sparse as ks

tf_keras = pytest.importorskip("tf_keras")
MESSAGE = (
    r"keras_sparse is for Keras 3 \(`import keras`\), and `{}` is of tf_keras \(Keras 2\).*"
    r"Received: {}=tf_keras"
)


def old_model():
    return tf_keras.Sequential([tf_keras.layers.Dense(4, input_shape=(8,))])


def test_an_optimizer_of_tf_keras():
    with pytest.raises(TypeError, match=MESSAGE.format("inner_optimizer", "inner_optimizer")):
        ks.SparseMomentum(tf_keras.optimizers.SGD(0.1, momentum=0.9), 0.5)


def test_a_model_of_tf_keras():
    model = old_model()
    with pytest.raises(TypeError, match=MESSAGE.format("model", "model")):
        ks.summary(model)
    with pytest.raises(TypeError, match=MESSAGE.format("model", "model")):
        ks.UpdateMasks(density=0.5).set_model(model)


def test_a_model_of_tf_keras_in_its_own_fit():
    import numpy as np

    model = old_model()
    model.compile(tf_keras.optimizers.SGD(0.1, momentum=0.9), "mse")
    with pytest.raises((TypeError, ValueError), match="Keras 3|keras"):
        model.fit(
            np.ones((8, 8)), np.ones((8, 4)), verbose=0, callbacks=[ks.UpdateMasks(density=0.5)]
        )


def test_keras_3_is_not_refused():
    assert isinstance(
        compiled(ks.SparseMomentum(sgd(), 0.5), toy_model()).optimizer, keras.Optimizer
    )
