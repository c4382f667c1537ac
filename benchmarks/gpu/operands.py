"""Masks, random tensors and reference products in double precision."""

import dataclasses

import torch
import torch.nn.functional as functional
from torch import Tensor

from benchmarks.gpu.layers import FORWARD, INPUT_GRADIENT, KERNEL_GRADIENT, PRODUCTS, Sizes
from benchmarks.gpu.library import ARITHMETIC, Kernel

# Of ||result - right|| / ||right|| for random numbers; rounding alone leaves a half of it or less.
TOLERANCES = {"bfloat16": 4e-3, "float16": 1e-3, "tensorfloat32": 2e-3, "float32": 1e-4}
Expected = dict[str, Tensor]  # of each product


def type_of(arithmetic: str) -> torch.dtype:
    return getattr(torch, ARITHMETIC[arithmetic][0])


def mask_like(kind: str | int, sizes: Sizes, density: float, generator: torch.Generator) -> Tensor:
    """A mask [height, width, in, out] with this share of active weights.

    Args:
        kind: the width of blocks, "channel_pairs", "weights", or a special mask: "one" weight, or
            all weights of the "last output".
        sizes: of the product.
        density: share of active blocks, pairs or weights.
        generator: of the random choice.
    """
    shape = height, width, channels_in, channels_out = sizes.kernel
    if kind == "one":
        mask = torch.zeros(shape, dtype=torch.bool)
        mask[-1, 0, channels_in // 2, -1] = True
        return mask
    if kind == "last output":
        return (torch.arange(channels_out) == channels_out - 1).expand(shape).contiguous()
    if isinstance(kind, int):
        grid = (height, width, channels_in // kind, channels_out // kind)
        blocks = _choose(grid, density, generator)
        return blocks.repeat_interleave(kind, 2).repeat_interleave(kind, 3)
    if kind == "channel_pairs":
        pairs = _choose((1, 1, channels_in, channels_out), density, generator)
        return pairs.expand(shape).contiguous()
    return _choose(shape, density, generator)


def _choose(shape: tuple[int, ...], density: float, generator: torch.Generator) -> Tensor:
    """Exactly this share, evenly spread, but one at least if the share is not 0."""
    number = torch.Size(shape).numel()
    chosen = torch.zeros(number, dtype=torch.bool, device=generator.device)
    active = max(round(density * number), int(density > 0))
    chosen[torch.randperm(number, generator=generator, device=generator.device)[:active]] = True
    return chosen.reshape(shape)


@dataclasses.dataclass(frozen=True)
class Operands:
    """The tensors of a layer; inputs and output gradient NHWC, kernel HWIO."""

    sizes: Sizes
    inputs: Tensor
    kernel: Tensor
    output_gradient: Tensor

    def first_and_second(self, product: str) -> tuple[Tensor, Tensor]:
        """What a product multiplies, as ConvPlan::Run takes it."""
        first = self.output_gradient if product == INPUT_GRADIENT else self.inputs
        return first, self.output_gradient if product == KERNEL_GRADIENT else self.kernel

    def result_shape(self, product: str) -> torch.Size:
        results = (self.output_gradient, self.inputs, self.kernel)
        return results[PRODUCTS.index(product)].shape

    def with_kernel(self, kernel: Tensor) -> "Operands":
        return dataclasses.replace(self, kernel=kernel)


def random_operands(
    sizes: Sizes, arithmetic: str, device: str, generator: torch.Generator, integers: bool = False
) -> Operands:
    """Normal numbers, or integers from -2 to 2, of which every product and sum is exact."""
    at, type_ = {"generator": generator, "device": generator.device}, type_of(arithmetic)

    def draw(shape: tuple[int, ...]) -> Tensor:
        values = torch.randint(-2, 3, shape, **at) if integers else torch.randn(shape, **at)
        return values.to(device, type_)

    return Operands(sizes, *map(draw, (sizes.inputs, sizes.kernel, sizes.outputs)))


def right_products(operands: Operands, mask: Tensor, device: str) -> Expected:
    """All three in float64, by PyTorch's convolution."""
    sizes = operands.sizes
    inputs, kernel, gradient = (
        t.to(device, torch.float64)
        for t in (operands.inputs, operands.kernel, operands.output_gradient)
    )
    mask, strides = mask.to(device), (sizes.stride_down, sizes.stride_right)
    inputs, kernel = inputs.requires_grad_(), kernel.masked_fill(~mask, 0).requires_grad_()
    last = (sizes.out_height - 1) * strides[0], (sizes.out_width - 1) * strides[1]
    bottom = last[0] + sizes.kernel_height - sizes.top - sizes.height
    end = last[1] + sizes.kernel_width - sizes.left - sizes.width
    # A negative number cuts off.
    padded = functional.pad(inputs.permute(0, 3, 1, 2), (sizes.left, end, sizes.top, bottom))
    outputs = functional.conv2d(padded, kernel.permute(3, 2, 0, 1), stride=strides)
    outputs = outputs.permute(0, 2, 3, 1)
    by_inputs, by_kernel = torch.autograd.grad(outputs, (inputs, kernel), gradient)
    return {
        FORWARD: outputs.detach(),
        INPUT_GRADIENT: by_inputs,
        KERNEL_GRADIENT: by_kernel.masked_fill(~mask, 0),
    }


def error_of(result: Tensor, expected: Tensor) -> float:
    """||result - expected|| / ||expected||; NaN if the result has one."""
    expected = expected.to(result.device)
    norm = torch.linalg.vector_norm(expected.double()).item()
    return torch.linalg.vector_norm(result.double() - expected.double()).item() / (norm or 1.0)


def tolerance(kernel: Kernel) -> float:
    return TOLERANCES[kernel.arithmetic]
