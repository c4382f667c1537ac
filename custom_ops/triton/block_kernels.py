"""Five Triton kernels multiply by blocks of weights on the tensor cores of a GPU.

A block is BLOCK_IN input channels by BLOCK_OUT output channels of one tap. It is active if any of
its weights is. A call runs these kernels:

    kernel          computes                                           a program handles
    flag_blocks     which blocks are active, and packs their weights   one block
    list_blocks     the active blocks of each group of outputs         one group, one phase
    sum_products    the forward pass, and the gradient by the inputs   a tile of pixels, one group
    sum_gradients   the gradient by the kernel, in parts of the pixels a few blocks, one part
    write_gradient  the sum of the parts, 0 where a weight is missing  a few rows of one block

The host decides nothing, so masks may change in every step. blocks.cc computes the arguments of a
launch. On the device the lists say how much work there is: few active blocks make more parts.

An entry of a list is four ints: the block, the offset of its inputs from their pixel in groups of
channels, and that offset down and right. A loop does little for each entry: for blocks of 16 and
32, everything but the multiplication takes the time. With strides, the gradient by the inputs has
phases: all pixels of a phase see the same taps.
"""

from block_gradients import sum_gradients, write_gradient
from block_lists import flag_blocks, list_blocks
from block_products import sum_products

__all__ = ["flag_blocks", "list_blocks", "sum_gradients", "sum_products", "write_gradient"]
