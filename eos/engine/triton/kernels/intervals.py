"""Device functions: products of decays over the intervals of a chunk, each from sums that never subtract.

A chunk has C steps. In a block of 2h steps a row r of the right half meets a column j of the left half, and the
log-decay between them is the sum from the half's start to r plus the sum from j + 1 to the half's end. Both are one
tile [C, X] a level: rows of the right halves hold the first, rows of the left halves the second, and every entry is a
row of a constant 0/1 matrix (eos.engine.triton.masks) times the log-decays, so a tensor core sums it. What is one
number a head needs no levels: there the sums of all intervals are a matrix.
"""

import triton
import triton.language as tl

from eos.record import LOG_FLOOR

#: Masks of the table beside those of the levels (eos.engine.triton.masks).
MORE_MASKS: tl.constexpr = tl.constexpr(4)
LOG2E: tl.constexpr = tl.constexpr(1.4426950408889634)
FLOOR: tl.constexpr = tl.constexpr(LOG_FLOOR)


@triton.constexpr_function
def levels(C):
    """How often a chunk is halved, down to single steps."""
    return C.bit_length() - 1


@triton.jit
def exp(x):
    """e^x, by the one exponential that the hardware has."""
    return tl.exp2(x * LOG2E)


@triton.jit
def product(x, y, PRECISION: tl.constexpr):
    """x @ y with a float32 accumulator; operands of float32 only by what ``PRECISION`` says."""
    return tl.dot(x, y, input_precision=PRECISION)


#: Log-decays are summed at this scale: to −88 they fit float16, and what it drops of small ones stays below rounding.
SCALE: tl.constexpr = tl.constexpr(256.0)


@triton.jit
def pieces(log_decay):
    """A log-decay as two float16 numbers that add up to it, at :data:`SCALE`, to 22 bits."""
    scaled = log_decay * SCALE
    first = scaled.to(tl.float16)
    return first, (scaled - first.to(tl.float32)).to(tl.float16)


@triton.jit
def summed_decay(mask, first, second):
    """The decays [C, X] over intervals that a mask [C, C] of zeros and ones picks, from the pieces of log-decays."""
    total = tl.dot(mask, first)
    return tl.exp2(tl.dot(mask, second, acc=total) * (LOG2E / SCALE))


@triton.jit
def exact_sum(mask, x, SPLIT: tl.constexpr):
    """mask [C, C] @ x [C, X] of float32, for a mask of zeros and ones.

    SPLIT: x as three bfloat16 numbers, which hold all of it; else in float32, for an interpreter without bfloat16.
    """
    if SPLIT:
        ones = mask.to(tl.bfloat16)
        first = x.to(tl.bfloat16)
        rest = x - first.to(tl.float32)
        second = rest.to(tl.bfloat16)
        total = tl.dot(ones, first)
        total = tl.dot(ones, second, acc=total)
        total = tl.dot(ones, (rest - second.to(tl.float32)).to(tl.bfloat16), acc=total)
    else:
        total = tl.dot(mask.to(tl.float32), x, input_precision="ieee")
    return total


@triton.jit
def meeting(level, C: tl.constexpr):
    """[C, C]: which rows of right halves meet which columns of left halves, in blocks of 2^(level + 1) steps."""
    r = tl.arange(0, C)[:, None] >> level
    j = tl.arange(0, C)[None, :] >> level
    return (r == j + 1) & (r % 2 == 1)


@triton.jit
def load_mask(masks, index, C: tl.constexpr):
    """One 0/1 matrix of the table of eos.engine.triton.masks."""
    c = tl.arange(0, C)
    return tl.load(masks + index * (C * C) + c[:, None] * C + c[None, :])


@triton.constexpr_function
def early(BEFORE, ERASE, read, READS):
    """Whether a read sees the memory before its step: as all of the record, or as that of an erase, the last."""
    return BEFORE or (ERASE and read == READS - 1)


@triton.constexpr_function
def erasing(BEFORE, ERASE, read, READS):
    """Whether a read is that of an erase, in a record whose other reads see the memory after their step."""
    return ERASE and read == READS - 1 and not BEFORE


@triton.jit
def masks_of(masks, read: tl.constexpr, READS: tl.constexpr, ERASE: tl.constexpr, C: tl.constexpr):
    """The table for rows that read as the record's reads do; or the one after it, for those of an erase, the last."""
    if ERASE and read == READS - 1:
        masks += (levels(C) + MORE_MASKS) * (C * C)
    return masks


@triton.jit
def document(reset, C: tl.constexpr):
    """The document of every step [C], counted from the chunk's start, and whether two steps share one [C, C]."""
    number = tl.cumsum(reset, 0)
    return number, number[:, None] == number[None, :]


#: Vectors of the table that :func:`store_intervals` writes for every chunk.
VECTORS: tl.constexpr = tl.constexpr(7)


@triton.jit
def store_intervals(table, log_decay, reset, C: tl.constexpr, BEFORE: tl.constexpr):
    """What the intervals of a chunk need where the decay is one number a head: seven vectors [C].

    0 to 3: sums from the chunk's start to what a row sees and to a column, each as two float32, of which differences of
    the first are exact; 4: the decay from the chunk's start to a row; 5: from a column to the chunk's end; 6: the
    document. 4 and 5 are zero where another document lies between.

    Returns:
        The decay of the whole chunk.
    """
    c = tl.arange(0, C)
    step = log_decay.to(tl.float64)
    ends = tl.cumsum(step, 0)
    seen = ends - step if BEFORE else ends
    whole = tl.sum(step, 0)
    number = tl.cumsum(reset, 0)
    last = tl.max(number, 0)
    seen_coarse, seen_rest = split(seen)
    ends_coarse, ends_rest = split(ends)
    tl.store(table + c, seen_coarse)
    tl.store(table + C + c, seen_rest)
    tl.store(table + 2 * C + c, ends_coarse)
    tl.store(table + 3 * C + c, ends_rest)
    tl.store(table + 4 * C + c, tl.where(number == 0, exp(seen.to(tl.float32)), 0.0))
    tl.store(table + 5 * C + c, tl.where(number == last, exp((whole - ends).to(tl.float32)), 0.0))
    tl.store(table + 6 * C + c, number.to(tl.float32))
    return tl.where(last == 0, exp(whole.to(tl.float32)), 0.0)


@triton.jit
def split(total):
    """A float64 sum as a multiple of 2⁻¹⁰, whose differences float32 holds exactly, and a rest."""
    coarse = tl.floor(total * 1024.0) * (1.0 / 1024.0)
    return coarse.to(tl.float32), (total - coarse).to(tl.float32)


@triton.jit
def load_pairs(
    table,
    C: tl.constexpr,
    BEFORE: tl.constexpr,
    RESET: tl.constexpr,
    TRANSPOSED: tl.constexpr,
    ERASE: tl.constexpr = False,
):
    """The decays of all intervals of a chunk [C, C] from that table, zero where there is none; or their transpose.

    ERASE: of rows that see the memory before their step, in a table of rows that see it after.
    """
    c = tl.arange(0, C)
    row, row_rest = load_seen(table, C, ERASE)
    column, column_rest = tl.load(table + 2 * C + c), tl.load(table + 3 * C + c)
    early: tl.constexpr = BEFORE or ERASE
    number = c
    if RESET:
        number = tl.load(table + 6 * C + c)
    if TRANSPOSED:
        pairs = (row[None, :] - column[:, None]) + (row_rest[None, :] - column_rest[:, None])
        meets = c[None, :] - early >= c[:, None]
    else:
        pairs = (row[:, None] - column[None, :]) + (row_rest[:, None] - column_rest[None, :])
        meets = c[:, None] - early >= c[None, :]
    if RESET:
        meets = meets & (number[:, None] == number[None, :])
    return exp(tl.where(meets, pairs, float("-inf")))


@triton.jit
def load_seen(table, C: tl.constexpr, ERASE: tl.constexpr):
    """The sums from the chunk's start to what every row sees [C], coarse and rest; with ERASE to the step before it."""
    c = tl.arange(0, C)
    if ERASE:
        coarse = tl.load(table + 2 * C + c - 1, mask=c > 0, other=0.0)
        rest = tl.load(table + 3 * C + c - 1, mask=c > 0, other=0.0)
    else:
        coarse, rest = tl.load(table + c), tl.load(table + C + c)
    return coarse, rest


@triton.jit
def load_right(table, C: tl.constexpr, ERASE: tl.constexpr = False):
    """The decay from the chunk's start to what every row sees [C]; ERASE as in :func:`load_pairs`."""
    c = tl.arange(0, C)
    if ERASE:
        coarse, rest = load_seen(table, C, True)
        right = tl.where(tl.load(table + 6 * C + c) == 0.0, exp(coarse + rest), 0.0)
    else:
        right = tl.load(table + 4 * C + c)
    return right


@triton.jit
def load_left(table, C: tl.constexpr):
    """The decay from every column to the chunk's end [C]."""
    return tl.load(table + 5 * C + tl.arange(0, C))
