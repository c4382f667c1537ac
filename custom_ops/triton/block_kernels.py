"""Five Triton kernels multiply by blocks of weights on the tensor cores of a GPU.

A block is BLOCK_IN input channels by BLOCK_OUT output channels of one tap. It is active if any of
its weights is. A call runs these kernels:

    kernel          computes                                           a program handles
    flag_blocks     which blocks are active, and packs their weights   one block
    list_blocks     the active blocks of each group of outputs         one group, one phase
    sum_products    the forward pass, and the gradient by the inputs   a tile of pixels, one group
    sum_gradients   the gradient by the kernel, in parts               a few blocks, some pixels
    write_gradient  the sum of the parts, 0 where a weight is missing  one block

The host decides nothing, so masks may change in every step. blocks.cc computes the arguments of a
launch.

An entry of a list is four ints: the block, the offset of its inputs from their pixel in groups of
channels, and that offset down and right. A loop does little for each entry: for blocks of 16 and
32, everything but the multiplication takes the time. With strides, the gradient by the inputs has
phases: all pixels of a phase see the same taps.
"""

import triton
import triton.language as tl

FAR_ABOVE = tl.constexpr(-(1 << 29))  # no input is there


@triton.jit
def flag_blocks(
    mask,  # bool [taps, BLOCK_IN * rows, BLOCK_OUT * columns]
    kernel,  # of the mask's shape; not read unless pack
    packed,  # [taps * rows * columns, BLOCK_IN * BLOCK_OUT]: weights of active blocks; missing: 0
    flags,  # int32: 1 where the block is active
    rows,
    columns,
    pack,  # 0: flags alone
    in_step,  # in `packed`, from one input channel to the next
    out_step,
    row_step,  # in `flags`, from one row of blocks to the next
    column_step,
    BLOCK_IN: tl.constexpr,
    BLOCK_OUT: tl.constexpr,
):
    tap_and_row, column = tl.program_id(0), tl.program_id(1)
    tap, row = tap_and_row // rows, tap_and_row % rows
    i, o = tl.arange(0, BLOCK_IN), tl.arange(0, BLOCK_OUT)
    places = (tap_and_row.to(tl.int64) * BLOCK_IN + i)[:, None] * (columns * BLOCK_OUT) + (
        column * BLOCK_OUT + o
    )[None, :]
    active = tl.load(mask + places) != 0
    flag = tl.max(tl.max(active.to(tl.int32), 1), 0)
    tl.store(flags + row * row_step + column * column_step + tap, flag)
    if flag * pack != 0:
        weights = tl.load(kernel + places, mask=active, other=0.0)
        block = (tap_and_row * columns + column).to(tl.int64) * (BLOCK_IN * BLOCK_OUT)
        tl.store(packed + block + i[:, None] * in_step + o[None, :] * out_step, weights)


@triton.jit
def list_blocks(
    flags,  # int32 [groups, others, taps]
    entries,  # int32 [phases, groups, others * taps, 4]
    counts,  # int32 [phases, groups]
    others,  # groups of the channels that are summed over
    kernel_height,
    kernel_width,
    other_step,  # in blocks, from one of the others to the next
    group_step,
    tap_step,
    direction,  # 1 if a later tap sees a later input, -1 if an earlier one
    top,  # where the first tap of the first pixel lies
    left,
    source_width,  # of the inputs of the sums
    source_groups,  # of channels, in an input
    divisor_height,  # how many phases there are, and lattice points in a step
    divisor_width,
    CHUNK: tl.constexpr,
):
    group, phase = tl.program_id(0), tl.program_id(1)
    taps = kernel_height * kernel_width
    size = others * taps
    list_of_group = (phase * tl.num_programs(0) + group).to(tl.int64)
    entries += list_of_group * size * 4
    count = 0
    for first in range(0, size, CHUNK):
        e = first + tl.arange(0, CHUNK)
        other, tap = e // taps, e % taps
        down = top + phase // divisor_width + direction * (tap // kernel_width)
        right = left + phase % divisor_width + direction * (tap % kernel_width)
        flag = tl.load(flags + group.to(tl.int64) * size + e, mask=e < size, other=0)
        flag = tl.where((down % divisor_height == 0) & (right % divisor_width == 0), flag, 0)
        place = entries + (count + tl.cumsum(flag, 0) - flag) * 4
        tl.store(place, other * other_step + group * group_step + tap * tap_step, mask=flag != 0)
        down, right = down // divisor_height, right // divisor_width
        tl.store(place + 1, (down * source_width + right) * source_groups + other, mask=flag != 0)
        tl.store(place + 2, down, mask=flag != 0)
        tl.store(place + 3, right, mask=flag != 0)
        count += tl.sum(flag, 0)
    tl.store(counts + list_of_group, count)


@triton.jit
def load_entries(entry, first, count, AT_ONCE: tl.constexpr):
    """A tuple (block, shift, down, right); beyond the list, its last one, far above all inputs."""
    loaded = ()
    for n in tl.static_range(AT_ONCE):
        place = entry + tl.maximum(tl.minimum(count - 1, first + n), 0) * 4
        down = tl.where(count > first + n, tl.load(place + 2), FAR_ABOVE)
        loaded = loaded + ((tl.load(place), tl.load(place + 1), down, tl.load(place + 3)),)
    return loaded


@triton.jit
def lies_inside(y, x, height, width):
    """0 <= y < height and 0 <= x < width."""
    return (y.to(tl.uint32) < height.to(tl.uint32)) & (x.to(tl.uint32) < width.to(tl.uint32))


@triton.jit
def sum_products(
    inputs,  # [batch, in_height, in_width, in_channels]
    packed,  # [blocks, BLOCK_IN, BLOCK_OUT]: what is summed over comes first
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
    AT_ONCE: tl.constexpr,  # entries
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
    packed += i[:, None] * BLOCK_OUT + o[None, :]
    y = tl.where(image < batch, y, FAR_ABOVE)
    list_of_group = (phase * groups + group).to(tl.int64)
    count = tl.load(counts + list_of_group)
    entry = entries + list_of_group * capacity * 4
    total = tl.zeros((PIXELS, BLOCK_OUT), tl.float32)
    now = load_entries(entry, 0, count, AT_ONCE)
    for first in range(0, count, AT_ONCE):
        after = load_entries(
            entry, first + AT_ONCE, count, AT_ONCE
        )  # one step ahead: nothing waits for an address
        for n in tl.static_range(AT_ONCE):
            block, shift, down, right = now[n]
            inside = lies_inside(y + down, x + right, in_height, in_width)
            values = tl.load(
                inputs + shift.to(tl.int64) * BLOCK_IN,
                mask=inside[:, None],
                other=0.0,
                cache_modifier=".ca",
            )
            weights = tl.load(packed + block.to(tl.int64) * (BLOCK_IN * BLOCK_OUT))
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


@triton.jit
def sum_gradients(
    inputs,  # [batch, in_height, in_width, in_channels]
    gradients,  # of the outputs, [batch, out_height, out_width, groups * BLOCK_OUT]
    entries,  # int32 [groups, capacity, 4]
    counts,  # int32 [groups]
    parts,  # float32 [parts, blocks, BLOCK_IN, BLOCK_OUT]
    blocks,
    batch,
    in_height,
    in_width,
    in_channels,
    out_height,
    out_width,
    groups,
    capacity,
    step_height,
    step_width,
    pixels_per_part,
    PIXELS: tl.constexpr,
    BLOCK_IN: tl.constexpr,
    BLOCK_OUT: tl.constexpr,
    AT_ONCE: tl.constexpr,  # entries, 1, 2 or 4: they share the output gradients that are loaded
    PRECISION: tl.constexpr,
):
    first, group, part = tl.program_id(0) * AT_ONCE, tl.program_id(1), tl.program_id(2)
    count = tl.load(counts + group)
    if first >= count:
        return
    i, o = tl.arange(0, BLOCK_IN), tl.arange(0, BLOCK_OUT)
    now = load_entries(entries + group.to(tl.int64) * capacity * 4, first, count, AT_ONCE)
    end = tl.minimum((part + 1) * pixels_per_part, batch * out_height * out_width)
    totals = ()
    for n in tl.static_range(AT_ONCE):
        totals = totals + (tl.zeros((BLOCK_IN, BLOCK_OUT), tl.float32),)
    pixel = part * pixels_per_part + tl.arange(0, PIXELS)
    image, row, column = (
        pixel // (out_width * out_height),
        pixel // out_width % out_height,
        pixel % out_width,
    )
    images, rows, columns = (
        PIXELS // (out_width * out_height),
        PIXELS // out_width % out_height,
        PIXELS % out_width,
    )  # in a step
    for _ in range(part * pixels_per_part, end, PIXELS):
        out = pixel.to(tl.int64) * (groups * BLOCK_OUT) + group * BLOCK_OUT
        gradient = tl.load(
            gradients + out[:, None] + o[None, :], mask=(pixel < end)[:, None], other=0.0
        )
        y, x = row * step_height, column * step_width
        seen = (
            inputs
            + (((image.to(tl.int64) * in_height + y) * in_width + x) * in_channels)[None, :]
            + i[:, None]
        )
        y = tl.where(pixel < end, y, FAR_ABOVE)
        sums = ()
        for n in tl.static_range(AT_ONCE):
            _, shift, down, right = now[n]
            inside = lies_inside(y + down, x + right, in_height, in_width)
            values = tl.load(
                seen + shift.to(tl.int64) * BLOCK_IN,
                mask=inside[None, :],
                other=0.0,
                cache_modifier=".ca",
            )
            sums = sums + (tl.dot(values, gradient, totals[n], input_precision=PRECISION),)
        totals = sums
        pixel, column, row, image = pixel + PIXELS, column + columns, row + rows, image + images
        row += tl.where(column >= out_width, 1, 0)  # divisions would take half of the loop
        column = tl.where(column >= out_width, column - out_width, column)
        image += tl.where(row >= out_height, 1, 0)
        row = tl.where(row >= out_height, row - out_height, row)
    for n in tl.static_range(AT_ONCE):
        if count > first + n:
            place = part.to(tl.int64) * blocks + now[n][0]
            tl.store(
                parts + place * (BLOCK_IN * BLOCK_OUT) + i[:, None] * BLOCK_OUT + o[None, :],
                totals[n],
            )


@triton.jit
def write_gradient(
    mask,  # bool [taps, BLOCK_IN * rows, BLOCK_OUT * columns]
    flags,  # int32 [columns, rows, taps]
    parts,  # float32 [number_of_parts, taps * rows * columns, BLOCK_IN, BLOCK_OUT]
    kernel_gradient,  # of the mask's shape
    rows,
    columns,
    taps,
    number_of_parts,
    BLOCK_IN: tl.constexpr,
    BLOCK_OUT: tl.constexpr,
):
    tap_and_row, column = tl.program_id(0), tl.program_id(1)
    tap, row = tap_and_row // rows, tap_and_row % rows
    i, o = tl.arange(0, BLOCK_IN), tl.arange(0, BLOCK_OUT)
    places = (tap_and_row.to(tl.int64) * BLOCK_IN + i)[:, None] * (columns * BLOCK_OUT) + (
        column * BLOCK_OUT + o
    )[None, :]
    total = tl.zeros((BLOCK_IN, BLOCK_OUT), tl.float32)
    if tl.load(flags + (column * rows + row) * taps + tap) != 0:
        block = (tap_and_row * columns + column).to(tl.int64) * (BLOCK_IN * BLOCK_OUT)
        place = parts + block + i[:, None] * BLOCK_OUT + o[None, :]
        for _ in range(number_of_parts):
            total += tl.load(place)
            place += taps * rows * columns * (BLOCK_IN * BLOCK_OUT)
        total = tl.where(tl.load(mask + places) != 0, total, 0.0)
    tl.store(kernel_gradient + places, total.to(kernel_gradient.dtype.element_ty))
