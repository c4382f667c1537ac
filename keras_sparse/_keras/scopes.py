"""Where and when TensorFlow runs code: eagerly, on the CPU, in a strategy; nothing elsewhere."""

import contextlib
from collections.abc import Sequence
from typing import Any

import keras


def strategy_scope(model: keras.layers.Layer) -> contextlib.AbstractContextManager[Any]:
    """The scope in which variables of this model's optimizer are made; layers have none."""
    if keras.backend.backend() != "tensorflow" or not isinstance(model, keras.Model):
        return contextlib.nullcontext()
    scope: contextlib.AbstractContextManager[Any] = model.distribute_strategy.scope()
    return scope


def is_chief(model: keras.Model) -> bool:
    """Is this the process that writes logs?  Of several workers, the first one is."""
    if keras.backend.backend() == "jax":
        import jax

        return bool(jax.process_index() == 0)
    if keras.backend.backend() != "tensorflow":
        return True
    return bool(model.distribute_strategy.extended.should_save_summary)


def strategy_of(variables: Sequence[Any]) -> Any:
    """The tf.distribute strategy under which these variables were made."""
    import tensorflow as tf

    made_under = getattr(variables[0].value, "distribute_strategy", None) if variables else None
    return made_under or tf.distribute.get_strategy()


def eager_scope() -> contextlib.AbstractContextManager[Any]:
    """Runs its body now, even while TensorFlow traces a step.

    A model without an input shape is built in its first trace.
    """
    if keras.backend.backend() != "tensorflow":
        return contextlib.nullcontext()
    import tensorflow as tf

    scope: contextlib.AbstractContextManager[Any] = tf.init_scope()
    return scope


def is_eager() -> bool:
    """Are variables read and written now?

    False while TensorFlow traces, and on JAX and torch, whose steps end in assignments.
    """
    if keras.backend.backend() != "tensorflow":
        return False
    import tensorflow as tf

    return bool(tf.executing_eagerly())


def is_in_training() -> bool:
    """May the present call of a layer belong to a training step?

    No, if no tf.GradientTape records and the layer is not called with ``training=True``. A tape
    alone does not tell: ``tf.recompute_grad`` computes a step first without one.
    """
    if keras.backend.backend() != "tensorflow":
        return True
    from keras.src.backend.common import global_state
    from tensorflow.python.eager import record

    context = global_state.get_global_attribute("current_call_ctx")
    return bool(record.could_possibly_record() or getattr(context, "training", False))


def in_control_flow() -> bool:
    """Is TensorFlow tracing a branch of ``cond``, or a loop?"""
    if keras.backend.backend() != "tensorflow":
        return False
    import tensorflow as tf

    return (
        not tf.executing_eagerly()
        and type(tf.compat.v1.get_default_graph()).__name__ != "FuncGraph"
    )


def host_scope() -> contextlib.AbstractContextManager[Any]:
    """Variables and operations of its body are on the CPU.

    Where TensorFlow has no GPU, or a strategy places them, it does nothing.
    """
    if keras.backend.backend() != "tensorflow":
        return contextlib.nullcontext()
    import tensorflow as tf

    if tf.distribute.has_strategy() or not tf.config.get_visible_devices("GPU"):
        return contextlib.nullcontext()
    scope: contextlib.AbstractContextManager[Any] = tf.device("CPU:0")
    return scope
