"""Products with masked kernels: what computes them, the operations, their gradients and the sparse layers."""
