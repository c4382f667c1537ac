"""The kernels for CPUs: what they compute, and the density up to which they are faster than stock.

``break_even.py`` has the formula, and ``tables/`` the densities. Those of float32 were measured on
one processor, an AMD Zen 5 with AVX-512, in one thread, by ``benchmarks/break_even.py``: 20 layers,
batch 1 to 128, density 0.5 to 0.02, the product alone and with both gradients. These two differ
little, except for the smallest products, whose cost of a call was read off whole models. The table
follows the lower one. Dilated convolutions were timed with both gradients in seven layers: 0.46 to
0.55 at a dilation of 2, 0.37 at 4 and 6.

The table for AMX is what ``python -m keras_sparse tune`` measured three times on an Intel Xeon, in
one thread, with the lower figure where convolutions of many positions gain less than others. Its
rows of blocks in bfloat16 were measured once more when these kernels had become faster.

The rows of trained convolutions are not above what its functions measured, except in one product of
64 channels at batch 4. These were 12 convolutions of 3x3 and 5 of 1x1 in blocks, and 6 and 4 with
single weights. Batches were 4 to 128, and images 4 to 56 pixels wide.

The table for processors with AVX2 alone is what ``tune`` measured on an AMD Zen 3, in one thread
and with oneDNN. TensorFlow does not use oneDNN there unless TF_ENABLE_ONEDNN_OPTS is 1, and without
it the densities were higher. Those of float16 are the densities of bfloat16, or below: in seven
products, the custom op at 0.5 took 0.62 to 1.02 of the dense forward product's time.

The rows of open growth windows say whether the custom op computes the gradient of all weights, by a
mask of all. By ``tune`` on that Zen 3, the custom op took 0.54 to 0.89 of the stock operation's
time in six convolutions of 3x3, and 0.88 to 1.04 in three of 1x1. In bfloat16 it took 0.08 or less
in all nine. Those of float16 follow bfloat16: two products took 0.15 and 0.23. Elsewhere nobody has
measured it, so the stock operation computes it until ``tune`` finds a gain.

Convolutions in groups follow the same rows in training steps, which gain more than those without
groups. Forward products alone gain less, or lose; so predictions run the stock operation.

Products of up to 16 rows whose kernel nobody trains have a row of their own, by
``benchmarks/few_rows.py``: that of one row, which gains least.

For matrix products in float32, the positions at which half of the density is left fall with the
root of the kernel's weights; four million weights and more have 180. On a busy core, 24 products of
65,000 to a million weights were measured at 16 to 512 rows by the functions of ``tune``. Their
break-even densities were at most 0.03 below this rule's, except for two that a second run put above
it.

Masks of small blocks have kernels of their own. Their densities are those of single weights times
1.3. In eight of nine layers, blocks of 4x4 at density 0.65 took less time than single weights at
0.5; in the ninth, a dense layer at batch 16, 4 % more (2026-11-26, forward product and both
gradients). Blocks of 2x4 and 4x2, which gain less, share this row and were not compared with it.
"""

from typing import Any

from keras import ops

from keras_sparse.compute.break_even import FEW_ROWS, OPEN, TRAINED, Row
from keras_sparse.compute.library import why_no_custom_ops
from keras_sparse.compute.product import Product
from keras_sparse.compute.tuned import tables
from keras_sparse.rules.blocks import Blocks
from keras_sparse.rules.structure import Structure

DTYPES = ("float32", "bfloat16", "float16")
SPARSE_INPUTS = "the inputs are sparse tensors, which the custom op would make dense"
BLOCKS = ((4, 4), (2, 4), (4, 2))  # input x output channels that the kernels for blocks compute
MOST_ROWS = 16  # of products whose kernel's active values the op may keep: few_rows.h
MIN_CHANNELS = 16  # with fewer input or output channels the stock operation wins at any density


class CpuKernels:
    """Products on CPUs, of masks of any structure; sums are float32 for every dtype.

    The kernels look at the mask: whole blocks of one of the sizes ``BLOCKS``, or of multiples of
    it, are computed as blocks, whatever structure was declared. All others are single weights.
    """

    name = "cpu_kernels"

    def is_for(self, product: Product) -> bool:
        return True

    def why_not(self, product: Product) -> str | None:
        """Why there is no kernel for this product, or None."""
        if (why := why_no_custom_ops()) is not None:
            return why
        if product.dtype not in DTYPES:
            return f"dtype is {product.dtype}, not one of {', '.join(DTYPES)}"
        return unsupported_form(product)

    def why_slower(self, product: Product) -> str | None:
        """Why the stock operation wins at any density and batch, or None.

        >>> CpuKernels().why_slower(Product("conv2d", (3, 3, 3, 64)))
        'fewer than 16 channels'
        """
        if product.has_sparse_inputs:
            return SPARSE_INPUTS
        if (few := too_few_channels(product)) is not None:
            return few
        if product.groups > 1 and not product.trains:
            return "nobody has measured predictions of groups to be faster"
        if not product.is_known:
            return "the shape of the kernel is not known when traced"
        trained = trained_row_of(product)
        if row_of(product).density > 0 or (trained is not None and trained.density > 0):
            return None
        is_shipped = tables().tuned is None
        why = "nobody has measured it to be faster" if is_shipped else "it is never faster here"
        return f"{why} ({tables().name})"

    def break_even(self, product: Product) -> Any:
        """The density up to which the custom op wins, 0 or less where it never does.

        >>> round(CpuKernels().break_even(Product("conv2d", (3, 3, 64, 64), positions=256)), 3)
        0.375
        >>> product = Product("conv2d", (3, 3, 64, 64), structure=Blocks(4, 4, per_tap=True))
        >>> CpuKernels().break_even(product)
        0.7
        >>> round(CpuKernels().break_even(Product("matmul", (1024, 1024), positions=128)), 3)
        0.286
        """
        sizes = product.weights, product.positions, product.width
        many = row_of(product).at(*sizes)
        if (trained := trained_row_of(product)) is not None:
            active_only = trained.at(*sizes)
            wanted = product.dense_gradient() if callable(product.dense_gradient) else False
            return active_only if wanted is False else ops.where(wanted, many, active_only)
        row = None if product.trains else few_rows_of(product)
        if row is None:
            return many
        few = row.at(product.weights, product.positions)
        if isinstance(product.positions, int | float):
            return max(few, many) if product.positions <= MOST_ROWS else many
        return ops.where(product.positions <= MOST_ROWS, ops.maximum(few, many), many)

    def measured(self) -> str:
        """Which table the break-even densities come from."""
        return tables().name


def too_few_channels(product: Product) -> str | None:
    """The reason where a product has too few channels to be faster at any density, or None."""
    is_small = min(product.known_channels, default=MIN_CHANNELS) < MIN_CHANNELS
    return f"fewer than {MIN_CHANNELS} channels" if is_small else None


def unsupported_form(product: Product) -> str | None:
    """Why no compiled kernel computes a convolution of this form, on any device; or None.

    >>> unsupported_form(Product("conv2d", (3, 3, 1, 16), groups=16))
    'groups is 16, of one channel each'
    """
    if product.data_format != "channels_last":
        return f"data_format is {product.data_format}, not channels_last"
    if product.dilation != (1, 1) and product.strides != (1, 1):  # stock operations lack it, too
        return f"strides are {product.strides} and dilation_rate is {product.dilation}"
    is_depthwise = product.groups > 1 and product.kernel_shape[-2] == 1
    return f"groups is {product.groups}, of one channel each" if is_depthwise else None


def kind_of(product: Product) -> str:
    """The row of a table of densities.

    >>> kind_of(Product("conv2d", (3, 3, 16, 16), dilation=(2, 2)))
    'dilated convolution'
    """
    if product.kind == "matmul":
        return "matmul"
    if product.taps == 1:
        return "1x1 convolution"
    return "convolution" if product.dilation == (1, 1) else "dilated convolution"


def row_of(product: Product) -> Row:
    """The row of the table of break-even densities that this product belongs to."""
    return tables().row(kind_of(product), product.dtype, kernels_for(product.structure))


def trained_row_of(product: Product) -> Row | None:
    """The row of a training step whose missing weights get no gradient, or may get none.

    None: they get one, or the table has no such row.

    >>> trained_row_of(Product("matmul", (64, 64))) is None
    True
    """
    if product.dense_gradient is True or not product.trains:
        return None
    kind, structure = TRAINED + kind_of(product), kernels_for(product.structure)
    row = tables().row(kind, product.dtype, structure)
    return row if row.density > 0 else None


def computes_all_gradients(product: Product) -> bool:
    """Is the custom op faster than the stock operation even for the gradient of all weights?

    >>> computes_all_gradients(Product("matmul", (64, 64)))
    False
    """
    return tables().row(OPEN + kind_of(product), product.dtype, "weights").density == 1


def few_rows_of(product: Product) -> Row | None:
    """The row of a matrix product of few rows with a kernel that nobody trains; None: it is none.

    >>> few_rows_of(Product("conv2d", (3, 3, 64, 64))) is None
    True
    """
    is_matmul = product.taps == 1 and product.strides == (1, 1) and product.groups == 1
    if not is_matmul or product.dtype != "float32":
        return None
    return tables().row(FEW_ROWS, product.dtype, "weights")


def kernels_for(structure: Structure) -> str:
    """Which kernels compute masks of this structure: those for "blocks", or for "weights".

    >>> kernels_for(Blocks(4, 4, per_tap=True)), kernels_for(Blocks(16, 16))
    ('blocks', 'blocks')
    >>> kernels_for(Blocks(1, 8))
    'weights'
    """
    if not isinstance(structure, Blocks):
        return "weights"
    fits = any(structure.in_ % ins == 0 and structure.out % outs == 0 for ins, outs in BLOCKS)
    return "blocks" if fits else "weights"
