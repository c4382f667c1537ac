"""The private names of TensorFlow and Keras that the check for TPUs needs."""

import collections
import inspect
from collections.abc import Iterator, Sequence
from typing import Any

import keras
import tensorflow as tf
from tensorflow.python.framework import kernels
from tensorflow.python.ops.handle_data_util import get_resource_handle_data, set_handle_data
from tensorflow.python.tpu.tpu_system_metadata import TPUSystemMetadata

Device = collections.namedtuple("Device", ("name", "device_type"))
HOST = "/job:localhost/replica:0/task:0/device:"


class LocalResolver(tf.distribute.cluster_resolver.TPUClusterResolver):
    """A resolver that reports TPU cores on this host.

    Args:
        cores: the number of cores.
    """

    def __init__(self, cores: int) -> None:  # the base class would look for TPUs
        self._cores = cores
        self._tpu = ""
        self.task_type = self.task_id = None

    def master(self, *args: Any, **kwargs: Any) -> str:
        return ""

    def cluster_spec(self) -> Any:
        return tf.train.ClusterSpec({})

    @property
    def environment(self) -> str:
        return ""

    def num_accelerators(self, *args: Any, **kwargs: Any) -> dict[str, int]:
        return {"TPU": self._cores}

    def get_tpu_system_metadata(self) -> Any:
        devices = [Device(f"{HOST}TPU:{i}", "TPU") for i in range(self._cores)]
        devices += [Device(f"{HOST}CPU:0", "CPU"), Device(f"{HOST}TPU_SYSTEM:0", "TPU_SYSTEM")]
        return TPUSystemMetadata(
            num_cores=self._cores,
            num_hosts=1,
            num_of_cores_per_host=self._cores,
            topology=None,
            devices=devices,
        )


def build(model: keras.Model, batch: Any) -> None:
    """Creates the variables of model, metrics and optimizer, as ``fit`` does."""
    model._symbolic_build(data_batch=batch)


def one_step_on_data(model: keras.Model) -> Any:
    """The tf.function that ``fit`` calls for each batch."""
    model.make_train_function(force=True)
    return inspect.getclosurevars(model.train_function).nonlocals["one_step_on_data"].__wrapped__


def handles(variable: Any) -> list[Any]:
    """The resources by which functions capture a Keras variable.

    There is one for each replica, and one that stands for all of them.
    """
    value = getattr(variable, "value", variable)
    packed = getattr(value, "_packed_var", None)
    copies = [copy.handle for copy in getattr(value, "values", [value])]
    return copies if packed is None else [*copies, packed.packed_handle]


def content_of(handle: Any) -> tuple[tf.DType, list[int]]:
    """The dtype and shape of the variable behind a symbolic resource."""
    content = get_resource_handle_data(handle).shape_and_type[0]
    return tf.as_dtype(content.dtype), tf.TensorShape(content.shape).as_list()


def copy_content(placeholder: Any, handle: Any) -> None:
    """Gives a placeholder the dtype and shape of the variable behind a resource."""
    set_handle_data(placeholder, get_resource_handle_data(handle))


def functions_called(node: Any) -> Iterator[str]:
    """The names of functions in the attributes of a node."""
    for value in node.attr.values():
        yield from (function.name for function in [value.func, *value.list.func] if function.name)


def ops_with_kernels(device_types: Sequence[str]) -> set[str]:
    """The names of ops that have a kernel on one of these devices."""
    return {
        kernel.op
        for kernel in kernels.get_all_registered_kernels().kernel
        if kernel.device_type in device_types
    }
