"""Sums the gradient by the kernel over parts of the pixels, only of the listed blocks."""

import triton
import triton.language as tl
from block_lists import FAR_ABOVE, lies_inside, load_entry

MOST_ROUNDS = tl.constexpr(4)  # kMostRounds of blocks.cc: with more, units are even enough


@triton.jit
def units_of(counts, first, groups, AT_ONCE: tl.constexpr, CHUNK: tl.constexpr):
    """How many units of AT_ONCE entries the lists of CHUNK groups make: int32 [CHUNK]."""
    group = first + tl.arange(0, CHUNK)
    return (tl.load(counts + group, mask=group < groups, other=0) + AT_ONCE - 1) // AT_ONCE


@triton.jit
def share_out(counts, groups, programs, most_parts, AT_ONCE: tl.constexpr, CHUNK: tl.constexpr):
    """(Units of all groups, parts of the pixels that keep all programs at work to the end).

    A part costs a sixteenth of what the fewest parts cost: it is written, and read again.
    """
    units = 0
    for first in range(0, groups, CHUNK):
        units += tl.sum(units_of(counts, first, groups, AT_ONCE, CHUNK), 0)
    fewest = tl.minimum(tl.maximum(programs // tl.maximum(units, 1), 1), most_parts)
    parts = fewest + tl.arange(0, 16)
    rounds = tl.cdiv(units * parts, programs)
    cost = rounds * 65536 // parts * (15 * fewest + parts)
    may_be = (units * parts <= MOST_ROUNDS * programs) & (parts <= most_parts)
    return units, fewest + tl.argmin(tl.where(may_be, cost, 1 << 30), 0)


@triton.jit
def find_unit(counts, unit, groups, AT_ONCE: tl.constexpr, CHUNK: tl.constexpr):
    """(The group of a unit, its number in the group)."""
    group, before, seen = 0, 0, 0
    for first in range(0, groups, CHUNK):
        units = units_of(counts, first, groups, AT_ONCE, CHUNK)
        passed = seen + tl.cumsum(units, 0) <= unit
        group += tl.sum(passed.to(tl.int32), 0)
        before += tl.sum(tl.where(passed, units, 0), 0)
        seen += tl.sum(units, 0)
    return group, unit - before


@triton.jit
def load_rows(entry, first, count, n, BLOCK_IN: tl.constexpr, ROWS: tl.constexpr):
    """(number, channel, block, shift, down, right) of the n-th ROWS of the channels of entries.

    Where several entries share the rows each is int32 [ROWS, 1], else only the channel.
    """
    row = n * ROWS + tl.arange(0, ROWS)[:, None]
    if ROWS > BLOCK_IN:
        number = first + row // BLOCK_IN
    else:
        number = first + n * ROWS // BLOCK_IN
    block, shift, down, right = load_entry(entry, number, count)
    return number, row % BLOCK_IN, block, shift, down, right


@triton.jit
def sum_gradients(
    inputs,  # [batch, in_height, in_width, in_channels]
    gradients,  # of the outputs, [batch, out_height, out_width, groups * BLOCK_OUT]
    entries,  # int32 [groups, capacity, 4]
    counts,  # int32 [groups]
    parts,  # float32 [parts, units, AT_ONCE, BLOCK_IN, BLOCK_OUT]
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
    most_parts,
    PIXELS: tl.constexpr,
    BLOCK_IN: tl.constexpr,
    BLOCK_OUT: tl.constexpr,
    AT_ONCE: tl.constexpr,  # entries: a unit; they share the output gradients that are loaded
    ROWS: tl.constexpr,  # channels of entries that one product takes
    CHUNK: tl.constexpr,
    PRECISION: tl.constexpr,
):
    programs, pixels = tl.num_programs(0), batch * out_height * out_width
    units, number_of_parts = share_out(counts, groups, programs, most_parts, AT_ONCE, CHUNK)
    pixels_per_part = tl.cdiv(tl.cdiv(pixels, number_of_parts), PIXELS) * PIXELS
    for first in range(0, units * number_of_parts, programs):
        item = first + tl.program_id(0)
        if item < units * number_of_parts:
            part = item // units
            group, unit = find_unit(counts, item % units, groups, AT_ONCE, CHUNK)
            sum_unit(
                inputs, gradients, entries + group.to(tl.int64) * capacity * 4,
                tl.load(counts + group), parts + item.to(tl.int64) * AT_ONCE * BLOCK_IN * BLOCK_OUT,
                unit * AT_ONCE, part * pixels_per_part,
                tl.minimum((part + 1) * pixels_per_part, pixels),
                in_height, in_width, in_channels, out_height, out_width,
                groups * BLOCK_OUT, group * BLOCK_OUT, step_height, step_width,
                PIXELS, BLOCK_IN, BLOCK_OUT, AT_ONCE, ROWS, PRECISION,
            )  # fmt: skip


@triton.jit
def sum_unit(
    inputs,
    gradients,
    entry,
    count,
    parts,  # float32 [AT_ONCE, BLOCK_IN, BLOCK_OUT]
    first,  # entry
    begin,  # pixel
    end,
    in_height,
    in_width,
    in_channels,
    out_height,
    out_width,
    out_channels,
    out_channel,
    step_height,
    step_width,
    PIXELS: tl.constexpr,
    BLOCK_IN: tl.constexpr,
    BLOCK_OUT: tl.constexpr,
    AT_ONCE: tl.constexpr,
    ROWS: tl.constexpr,
    PRECISION: tl.constexpr,
):
    """Writes the sums of a few entries over some pixels."""
    o = tl.arange(0, BLOCK_OUT)
    rows, totals = (), ()
    for n in tl.static_range(AT_ONCE * BLOCK_IN // ROWS):
        rows = rows + (load_rows(entry, first, count, n, BLOCK_IN, ROWS),)
        totals = totals + (tl.zeros((ROWS, BLOCK_OUT), tl.float32),)
    pixel = begin + tl.arange(0, PIXELS)
    image, row, column = (
        pixel // (out_width * out_height),
        pixel // out_width % out_height,
        pixel % out_width,
    )
    images_step, rows_step, columns_step = (
        PIXELS // (out_width * out_height),
        PIXELS // out_width % out_height,
        PIXELS % out_width,
    )
    for _ in range(begin, end, PIXELS):
        out = pixel.to(tl.int64) * out_channels + out_channel
        gradient = tl.load(
            gradients + out[:, None] + o[None, :], mask=(pixel < end)[:, None], other=0.0
        )
        y, x = row * step_height, column * step_width
        place = ((image.to(tl.int64) * in_height + y) * in_width + x) * in_channels
        y = tl.where(pixel < end, y, FAR_ABOVE)
        sums = ()
        for n in tl.static_range(AT_ONCE * BLOCK_IN // ROWS):
            _, channel, _, shift, down, right = rows[n]
            inside = lies_inside(y[None, :] + down, x[None, :] + right, in_height, in_width)
            values = tl.load(
                inputs + place[None, :] + (channel + shift.to(tl.int64) * BLOCK_IN),
                mask=inside,
                other=0.0,
                cache_modifier=".cg",
            )
            sums = sums + (tl.dot(values, gradient, totals[n], input_precision=PRECISION),)
        totals = sums
        pixel, column = pixel + PIXELS, column + columns_step
        row, image = row + rows_step, image + images_step
        row += tl.where(column >= out_width, 1, 0)  # divisions would take half of the loop
        column = tl.where(column >= out_width, column - out_width, column)
        image += tl.where(row >= out_height, 1, 0)
        row = tl.where(row >= out_height, row - out_height, row)
    for n in tl.static_range(AT_ONCE * BLOCK_IN // ROWS):
        row_of_unit = n * ROWS + tl.arange(0, ROWS)
        tl.store(parts + row_of_unit[:, None] * BLOCK_OUT + o[None, :], totals[n])


@triton.jit
def write_gradient(
    mask,  # bool [taps, BLOCK_IN * rows, BLOCK_OUT * columns]
    flags,  # int32 [columns, rows, taps]: 0, or the entry's place in its list, from 1
    counts,  # int32 [columns]
    parts,  # float32 [parts, units, AT_ONCE, BLOCK_IN, BLOCK_OUT]
    kernel_gradient,  # of the mask's shape
    rows,
    columns,
    taps,
    programs,  # of sum_gradients
    most_parts,
    BLOCK_IN: tl.constexpr,
    BLOCK_OUT: tl.constexpr,
    AT_ONCE: tl.constexpr,
    ROWS: tl.constexpr,  # channels of one program
    LOADED: tl.constexpr,  # parts whose loads are in flight
    CHUNK: tl.constexpr,
):
    tap_and_row, column = tl.program_id(0), tl.program_id(1)
    tap, row = tap_and_row // rows, tap_and_row % rows
    i, o = tl.program_id(2) * ROWS + tl.arange(0, ROWS), tl.arange(0, BLOCK_OUT)
    places = (tap_and_row.to(tl.int64) * BLOCK_IN + i)[:, None] * (columns * BLOCK_OUT) + (
        column * BLOCK_OUT + o
    )[None, :]
    total = tl.zeros((ROWS, BLOCK_OUT), tl.float32)
    number = tl.load(flags + (column * rows + row) * taps + tap)
    if number != 0:
        units, number_of_parts = share_out(counts, columns, programs, most_parts, AT_ONCE, CHUNK)
        before = column * 0
        for first in range(0, column, CHUNK):
            before += tl.sum(units_of(counts, first, column, AT_ONCE, CHUNK), 0)
        first_part = (before.to(tl.int64) * AT_ONCE + number - 1) * (BLOCK_IN * BLOCK_OUT)
        part = parts + first_part + i[:, None] * BLOCK_OUT + o[None, :]
        step = units.to(tl.int64) * (AT_ONCE * BLOCK_IN * BLOCK_OUT)
        for first in range(0, number_of_parts, LOADED):
            for n in tl.static_range(LOADED):
                is_there = first + n + 0 * o[None, :] < number_of_parts
                total += tl.load(part, mask=is_there, other=0.0)
                part += step
        total = tl.where(tl.load(mask + places) != 0, total, 0.0)
    tl.store(kernel_gradient + places, total.to(kernel_gradient.dtype.element_ty))
