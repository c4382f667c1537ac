"""The dense contenders: cuDNN's and cuBLAS' products, called through PyTorch on the same memory."""

import torch
import torch.nn.functional as functional
from torch import Tensor

from benchmarks.gpu.layers import FORWARD, INPUT_GRADIENT, KERNEL_GRADIENT, Layer
from benchmarks.gpu.machine import Contender
from benchmarks.gpu.operands import Operands


def contenders(layer: Layer, operands: Operands, product: str) -> dict[str, Contender]:
    """By name: the convolution where the layer has pixels, the matrix product where it is one."""
    found: dict[str, Contender] = {}
    if layer.pixels:
        views = _views(operands)
        found["cuDNN"] = lambda: convolve(layer, *views, product)
    if layer.size == 1 and layer.stride == 1:
        found["matmul"] = _matmul(operands, product)
    return found


def result_of(layer: Layer, operands: Operands, product: str) -> Tensor:
    """A dense product, in the layout of ours."""
    if not layer.pixels:
        return _matmul(operands, product)().view(operands.result_shape(product))
    result = convolve(layer, *_views(operands), product)
    return result.permute(2, 3, 1, 0) if product == KERNEL_GRADIENT else result.permute(0, 2, 3, 1)


def _views(operands: Operands) -> tuple[Tensor, Tensor, Tensor]:
    """Channels last: inputs and gradient as they lie, the kernel in cuDNN's order."""
    kernel = operands.kernel.permute(3, 2, 0, 1).contiguous(memory_format=torch.channels_last)
    return operands.inputs.permute(0, 3, 1, 2), kernel, operands.output_gradient.permute(0, 3, 1, 2)


def convolve(
    layer: Layer, inputs: Tensor, kernel: Tensor, gradient: Tensor, product: str
) -> Tensor:
    """One of the three products of a convolution, and only that one."""
    stride, padding = (layer.stride,) * 2, (layer.size // 2,) * 2
    if product == FORWARD:
        return functional.conv2d(inputs, kernel, None, stride, padding)
    wanted = [product == INPUT_GRADIENT, product == KERNEL_GRADIENT, False]
    backward = torch.ops.aten.convolution_backward(
        gradient, inputs, kernel, None, stride, padding, (1, 1), False, (0, 0), 1, wanted
    )
    return backward[0 if product == INPUT_GRADIENT else 1]


def _matmul(operands: Operands, product: str) -> Contender:
    channels_in, channels_out = operands.kernel.shape[2:]
    inputs = operands.inputs.view(-1, channels_in)
    gradient = operands.output_gradient.view(-1, channels_out)
    kernel = operands.kernel.view(channels_in, channels_out)
    factors = {
        FORWARD: (inputs, kernel),
        INPUT_GRADIENT: (gradient, kernel.T),
        KERNEL_GRADIENT: (inputs.T, gradient),
    }
    return lambda pair=factors[product]: torch.matmul(*pair)
