"""Runs a layer with SparseProp (Nikdan et al. 2023), which also trains sparse layers on CPUs."""

import importlib.util

import numpy as np

from benchmarks.op_contenders import Contender, Operands

HOW_TO_GET = (
    "SparseProp cannot be imported. Install PyTorch for CPUs into this environment, then "
    "`pip install pybind11 scipy setuptools && pip install --no-build-isolation sparseprop` "
    "(https://github.com/IST-DASLab/sparseprop; it needs a C++ compiler and AVX2)."
)


def check_available() -> None:
    """Raises ImportError, saying how to get it, if there is no SparseProp."""
    if any(importlib.util.find_spec(name) is None for name in ("torch", "sparseprop")):
        raise ImportError(HOW_TO_GET)


def contenders(operands: Operands, mask: np.ndarray, threads: int) -> dict[str, Contender]:
    """SparseProp's variants of the training step of a layer, by name: the better one counts."""
    import torch
    from sparseprop.modules import SparseConv2d, SparseLinear

    torch.set_num_threads(threads)
    kernel = operands.kernel * mask
    if not operands.layer.pixels:
        return {
            "linear": _step(
                SparseLinear(torch.tensor(kernel.T.copy())), operands, lambda array: array
            )
        }
    weights = torch.tensor(kernel.transpose(3, 2, 0, 1).copy())
    return {
        f"conv2d, vectorizing_over_on={over_on}": _step(
            SparseConv2d(weights, padding=operands.layer.size // 2, vectorizing_over_on=over_on),
            operands,
            lambda array: array.transpose(0, 3, 1, 2),
        )
        for over_on in (False, True)
    }


def _step(module: object, operands: Operands, to_layout: object) -> Contender:
    import torch

    inputs, output_gradient = (
        torch.tensor(np.ascontiguousarray(to_layout(array)))
        for array in (operands.inputs, operands.output_gradient)
    )
    inputs.requires_grad_()

    def step() -> object:
        outputs = module(inputs)
        return torch.autograd.grad(outputs, (inputs, module.W_val), output_gradient)

    return step
