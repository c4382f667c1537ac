"""Finds the active blocks of a mask, packs their weights, and lists them for each group."""

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
    turned,  # 1: output channels come first in `packed`
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
        packed += (tap_and_row * columns + column).to(tl.int64) * (BLOCK_IN * BLOCK_OUT)
        if turned != 0:
            tl.store(packed + o[:, None] * BLOCK_IN + i[None, :], tl.trans(weights))
        else:
            tl.store(packed + i[:, None] * BLOCK_OUT + o[None, :], weights)


@triton.jit
def list_blocks(
    flags,  # int32 [groups, others, taps]; where it was 1, an entry's place in its list, from 1
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
        number = count + tl.cumsum(flag, 0)
        if tl.num_programs(1) == 1:
            tl.store(flags + group.to(tl.int64) * size + e, number, mask=flag != 0)
        place = entries + (number - flag) * 4
        tl.store(place, other * other_step + group * group_step + tap * tap_step, mask=flag != 0)
        down, right = down // divisor_height, right // divisor_width
        tl.store(place + 1, (down * source_width + right) * source_groups + other, mask=flag != 0)
        tl.store(place + 2, down, mask=flag != 0)
        tl.store(place + 3, right, mask=flag != 0)
        count += tl.sum(flag, 0)
    tl.store(counts + list_of_group, count)


@triton.jit
def load_entry(entry, n, count):
    """(block, shift, down, right) of entry n; beyond the list, its last one, far above all."""
    place = entry + tl.maximum(tl.minimum(count - 1, n), 0) * 4
    down = tl.where(count > n, tl.load(place + 2), FAR_ABOVE)
    return tl.load(place), tl.load(place + 1), down, tl.load(place + 3)


@triton.jit
def lies_inside(y, x, height, width):
    """0 <= y < height and 0 <= x < width."""
    return (y.to(tl.uint32) < height.to(tl.uint32)) & (x.to(tl.uint32) < width.to(tl.uint32))
