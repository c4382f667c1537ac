"""Products with masked kernels: who computes them, their gradients, and the sparse layers."""
