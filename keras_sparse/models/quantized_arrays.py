"""The arrays of a quantized layer in a weight file, where numbers are their names (NumPy only)."""

from collections.abc import Mapping

import numpy as np


def quantized_arrays(arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The arrays of one layer that are to be read otherwise, by name.

    A kernel whose bytes hold two weights each becomes number less zero point, one for each weight,
    (inputs, outputs). Scales and zero points lose their axes: they are no kernels.

    Args:
        arrays: of one layer. A quantized one has the kernel first, in int8 or uint8.
    """
    names = sorted(arrays, key=lambda name: (len(name), name))
    if not names or arrays[names[0]].dtype.name not in ("int8", "uint8"):
        return {}
    kernel, others = arrays[names[0]], [arrays[name] for name in names[1:]]
    if kernel.ndim < 2:
        return {}
    shown = {name: arrays[name].reshape(-1) for name in names[1:]}
    return {names[0]: _weights(kernel, others), **shown}


def _weights(kernel: np.ndarray, others: list[np.ndarray]) -> np.ndarray:
    """The weights of a kernel, in whole numbers of which 0 is 0."""
    is_turned = kernel.dtype == np.uint8  # by GPTQ and AWQ: (outputs, inputs)
    bytes_, zeros = kernel, [other for other in others if other.dtype == kernel.dtype]
    scales = [other for other in others if other.dtype.kind == "f" and other.ndim]
    if is_turned:
        bytes_, zeros = kernel.T, [zero.T for zero in zeros]
    if kernel.ndim != 2 or not scales:
        return kernel
    outputs = (zeros or scales)[-1].shape[-1]
    is_packed = bytes_.shape[1] == -(-outputs // 2) and (outputs > 1 or bool(zeros))
    numbers = _unpacked(bytes_)[:, :outputs] if is_packed else bytes_.astype(np.int16)
    if not zeros:
        return numbers
    if not is_turned or not is_packed:
        return numbers - zeros[-1][_groups(others)]
    return (numbers & 15) - zeros[-1].astype(np.int16)[_groups(others)]


def _groups(others: list[np.ndarray]) -> np.ndarray:
    """The group of each input: the last array of the layer."""
    return others[-1].astype(np.int64)


def _unpacked(packed: np.ndarray) -> np.ndarray:
    """Two signed numbers of four bits of each byte: the low one first.

    >>> _unpacked(np.array([[0x2F]], np.uint8))
    array([[-1,  2]], dtype=int16)
    """
    pairs = np.stack([packed.view(np.uint8) & 15, packed.view(np.uint8) >> 4], axis=-1)
    signed = pairs.astype(np.int16)
    return np.where(signed > 7, signed - 16, signed).reshape(len(packed), -1).astype(np.int16)
