"""The class of a sparse layer's kernel: a variable that tells its KernelMask of new weights."""

from typing import Any

from keras_sparse._keras import is_eager


def followed_kernel_class(cls: type) -> type:
    """The class of variables that is ``cls`` and tells its KernelMask of new whole weights."""
    if issubclass(cls, _FollowedKernel):
        return cls
    if cls not in _CLASSES:
        _CLASSES[cls] = type(cls.__name__, (_FollowedKernel, cls), {})
    return _CLASSES[cls]


def plain_class(cls: type) -> type:
    """The class that ``followed_kernel_class`` has made this one of; any other class is its own."""
    return next((plain for plain, followed in _CLASSES.items() if followed is cls), cls)


_CLASSES: dict[type, type] = {}


class _FollowedKernel:
    """What a kernel of a sparse layer does beside being a variable."""

    def assign(self, value: Any) -> Any:
        assigned = super().assign(value)  # type: ignore[misc]
        self._tell()
        return assigned

    def _restore_from_tensors(self, restored: Any) -> Any:
        """TensorFlow's checkpoints come in here."""
        operation = super()._restore_from_tensors(restored)  # type: ignore[misc]
        self._tell()
        return operation

    def _tell(self) -> None:
        kernel_mask = getattr(self, "kernel_mask", None)
        if kernel_mask is not None and is_eager():
            kernel_mask.follow_weights()
