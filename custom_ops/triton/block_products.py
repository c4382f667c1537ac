"""Sums the products of the listed blocks: the forward pass, and the gradient by the inputs."""

import triton
import triton.language as tl
from block_lists import FAR_ABOVE, lies_inside, load_entry


@triton.jit
def sum_products(
    inputs,  # [batch, in_height, in_width, in_channels]
    packed,  # [blocks, BLOCK_IN, BLOCK_OUT], or [blocks, BLOCK_OUT, BLOCK_IN] if SUMMED_LAST
    entries,  # int32 [phases, groups, capacity, 4]
    counts,  # int32 [phases, groups]
    outputs,  # [batch, out_height, out_width, groups * BLOCK_OUT]
    batch,
    in_height,
    in_width,
    in_channels,
    out_height,
    out_width,
    groups,
    capacity,
    lattice_height,  # pixels of one phase
    lattice_width,
    phases_height,
    phases_width,
    step_height,  # in the inputs, from one pixel to the next
    step_width,
    PIXELS: tl.constexpr,
    BLOCK_IN: tl.constexpr,
    BLOCK_OUT: tl.constexpr,
    SUMMED_LAST: tl.constexpr,  # tensor cores read float32 so, and must not turn it on the way
    PRECISION: tl.constexpr,
):
    tile, group, phase = tl.program_id(0) // groups, tl.program_id(0) % groups, tl.program_id(1)
    pixel = tile * PIXELS + tl.arange(0, PIXELS)
    row, column = pixel // lattice_width % lattice_height, pixel % lattice_width
    image = pixel // (lattice_width * lattice_height)
    y, x = row * step_height, column * step_width
    i, o = tl.arange(0, BLOCK_IN), tl.arange(0, BLOCK_OUT)
    place = ((image.to(tl.int64) * in_height + y) * in_width + x) * in_channels
    inputs += place[:, None] + i[None, :]
    if SUMMED_LAST:
        packed += o[:, None] * BLOCK_IN + i[None, :]
    else:
        packed += i[:, None] * BLOCK_OUT + o[None, :]
    y = tl.where(image < batch, y, FAR_ABOVE)
    list_of_group = (phase * groups + group).to(tl.int64)
    count = tl.load(counts + list_of_group)
    entry = entries + list_of_group * capacity * 4
    total = tl.zeros((PIXELS, BLOCK_OUT), tl.float32)
    now = load_entry(entry, 0, count)
    for n in range(count):
        after = load_entry(entry, n + 1, count)  # one step ahead: nothing waits for an address
        block, shift, down, right = now
        inside = lies_inside(y + down, x + right, in_height, in_width)
        values = tl.load(
            inputs + shift.to(tl.int64) * BLOCK_IN,
            mask=inside[:, None],
            other=0.0,
            cache_modifier=".cg",
        )
        weights = tl.load(packed + block.to(tl.int64) * (BLOCK_IN * BLOCK_OUT))
        if SUMMED_LAST:
            weights = tl.trans(weights)
        total = tl.dot(values, weights, total, input_precision=PRECISION)
        now = after
    out_y, out_x = (
        row * phases_height + phase // phases_width,
        column * phases_width + phase % phases_width,
    )
    out = ((image.to(tl.int64) * out_height + out_y) * out_width + out_x) * (
        groups * BLOCK_OUT
    ) + group * BLOCK_OUT
    inside = (image < batch) & (out_y < out_height) & (out_x < out_width)
    tl.store(
        outputs + out[:, None] + o[None, :],
        total.to(outputs.dtype.element_ty),
        mask=inside[:, None],
    )
