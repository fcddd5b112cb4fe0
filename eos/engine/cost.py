"""What running a record takes: the analytic cost model behind every plan, and the sizes of windows and chunks."""

from collections.abc import Callable
from dataclasses import dataclass, replace

from eos.engine.edges import made_in_kernels
from eos.engine.structure import Structure
from eos.engine.triton.table import choose
from eos.engine.triton.tiles import Scans

#: What one operation costs: floating-point operations a second of a matrix product, bytes a second of an elementwise
#: one, seconds to launch any. Only ratios matter for the choice. The floats that the torch algorithms move below are
#: fitted to a third of a forward and backward pass on two CPU cores (docs/decisions/cost-model.md).
SPEEDS = {"cpu": (6e10, 1.2e10, 8e-6), "cuda": (4e14, 4e12, 5e-6)}
#: Floating-point operations a second of a GPU outside its tensor cores.
SCALAR_SPEED = 3e13
#: Entries of e and i that a window holds, where an algorithm works on many chunks at once; and its steps, within.
WINDOW_ENTRIES = {"chunked": 1 << 21, "delta": 1 << 20}
SHORTEST_WINDOW, LONGEST_WINDOW = 256, 4096
#: Steps of a chunk: inside one, a step costs C (K + V); between them, K V / C.
CHUNK, SHORT_CHUNK, SHORT_FEATURES = 64, 32, 64
#: Entries of a memory, over batch and heads, up to which the elementwise algorithm takes steps together.
SMALL_MEMORY = 1 << 12
#: Bytes of memories that an elementwise window holds.
ELEMENTWISE_WINDOW_BYTES = 1 << 22
#: Bytes of chunk memories that a window of the Triton kernels may store.
KERNEL_WINDOW_BYTES = 1 << 31
#: Programs that a GPU has room for, seconds that one takes for a chunk (estimated, not measured: docs/kernel.md), and
#: how many chunks a segment has at least, so that what is made between segments stays small.
PROGRAMS, CHUNK_SECONDS, SEGMENT_CHUNKS = 256, 1.7e-6, 4


@dataclass(frozen=True, kw_only=True)
class Cost:
    """What running a record forward takes.

    Arguments:
        flops: floating-point operations.
        bytes: bytes read and written.
        launches: operations launched one after another.
        seconds: the model's estimate from the three.
    """

    flops: float
    bytes: float
    launches: float
    seconds: float


def window(s: Structure, algorithm: str, backend: str) -> int:
    """Steps lowered and run at once."""
    if backend == "triton":
        stored = 2 * 4 * s.batch * s.heads * s.key * s.value * s.substeps
        tiles = choose(s, algorithm).tiles
        # of every chunk; or of every step, where e, s or a decay of all K × V is made for it
        each = tiles.chunk if not isinstance(tiles, Scans) else tiles.backward if s.rate_alone else 1
        return min(s.length, max(SHORTEST_WINDOW, each * _power_of_two(KERNEL_WINDOW_BYTES // stored)))
    if algorithm == "elementwise":
        steps = ELEMENTWISE_WINDOW_BYTES // (4 * s.batch * s.heads * s.key * s.value)
        return max(8, min(SHORTEST_WINDOW, _power_of_two(steps)))
    if algorithm in WINDOW_ENTRIES:
        steps = WINDOW_ENTRIES[algorithm] // (s.batch * s.heads * (s.key + s.value) * s.substeps)
        return max(SHORTEST_WINDOW, min(LONGEST_WINDOW, _power_of_two(steps)))
    return s.length


def _power_of_two(x: int) -> int:
    """The largest that is not above x; 1 where there is none."""
    return 1 << max(x, 1).bit_length() - 1


def chunk(s: Structure, algorithm: str, backend: str) -> int:
    """Steps of a chunk, which an algorithm takes together; elementwise, 1 walks step by step."""
    if backend == "triton":
        tiles = choose(s, algorithm).tiles
        return tiles.forward if isinstance(tiles, Scans) else tiles.chunk
    if algorithm in ("chunked", "delta"):
        return SHORT_CHUNK if s.key + s.value <= SHORT_FEATURES else CHUNK
    if algorithm == "elementwise" and s.batch * s.heads * s.key * s.value <= SMALL_MEMORY:
        return _power_of_two(int(window(s, algorithm, backend) ** 0.5))
    return 1


def _cost(s: Structure, *, flops: float, floats: float, launches: float) -> Cost:
    matrix, stream, launch = SPEEDS.get(s.device, SPEEDS["cpu"])
    seconds = flops / matrix + 4 * floats / stream + launches * launch
    return Cost(flops=flops, bytes=4 * floats, launches=launches, seconds=seconds)


def _tokens(s: Structure) -> float:
    return s.batch * s.length * s.heads * s.substeps


def _lowered(s: Structure, inside: frozenset[str] = frozenset()) -> float:
    """Floats moved by the rewrites before an algorithm: angles and what they turn, the normaliser, gates.

    ``inside``: the edges that its kernels make.
    """
    turned = s.key * (50 * ("phase" in s.varying or "phase_rate" in s.parts) + 18 * (1 + s.reads))
    floats = turned * ("phase" in s.parts or "phase_rate" in s.parts) * (s.value if s.phase_over_value else 1)
    gated = "gate" in s.parts and not any(name.startswith("gate") for name in inside)
    floats += 80 * s.normaliser + 3 * s.key * gated
    return _tokens(s) * floats


def _cost_sequential(s: Structure) -> Cost:
    entries, erase = _tokens(s) * s.key * s.value, "erase" in s.parts
    launches = (20 + 4 * s.reads + 20 * erase) * s.length * s.substeps
    moved = (40 if s.length > 1 else 16) + 60 * erase  # a single step stacks nothing
    return _cost(s, flops=5 * entries, floats=moved * entries + _lowered(s), launches=launches)


def _cost_chunked(s: Structure) -> Cost:
    size = min(chunk(s, "chunked", "torch"), s.length * s.substeps)
    decays = s.key * s.decay_over_key + s.value * ("value" in s.parts)
    flops = _tokens(s) * (2 * size * (s.key + s.value) + 2 * s.key * s.value * (1 + s.reads))
    floats = 10 * (s.key + s.value) + 30 * decays + 12 * size + 8 * s.key * s.value / size
    launches = (250 + 50 * (decays > 0) + 600 * (s.normaliser > 0)) * _windows(s, "chunked")
    return _cost(s, flops=flops, floats=_tokens(s) * floats + _lowered(s), launches=launches)


def _cost_elementwise(s: Structure) -> Cost:
    entries = _tokens(s) * s.key * s.value
    steps, size = window(s, "elementwise", "torch") * s.substeps, chunk(s, "elementwise", "torch")
    # of single steps: a third of two forward, two again and one and its reads backward
    each = (5 + s.reads) / 3 * steps if size == 1 else 2 * size + 3 * steps / size
    launches = (each + 60 + 600 * (s.normaliser > 0)) * _windows(s, "elementwise")
    floats = 28 * entries + 70 * _tokens(s) * (s.key + s.value)
    return _cost(s, flops=5 * entries, floats=floats + _lowered(s), launches=launches)


def _cost_delta(s: Structure) -> Cost:
    size = chunk(s, "delta", "torch")
    flops = _tokens(s) * (4 * size * (s.key + s.value) + size**2 + 2 * s.key * (2 * s.key + 4 * s.value))
    floats = 60 * (s.key + s.value + s.key * s.decay_over_key) + 90 * size
    return _cost(s, flops=flops, floats=_tokens(s) * floats + _lowered(s), launches=120 * _windows(s, "delta"))


def _cost_fft(s: Structure) -> Cost:
    transforms = 3 * 5 * s.batch * s.heads * s.value * 2 * s.length * s.length.bit_length()
    if "response" in s.parts:
        return _cost(s, flops=transforms, floats=transforms / 3, launches=20)
    # a power of the step for about √T lags near and as many far, and every lag and the last memory from them
    powers = 2 * s.length**0.5 * s.heads * s.key * s.value
    flops = transforms + 2 * s.length * s.heads * s.key * s.value * (s.reads + s.batch)
    if "erase" in s.parts:
        flops += 2 * s.heads * s.key**3 * s.length.bit_length()
        return _cost(s, flops=flops, floats=transforms / 2 + 4 * powers, launches=20 + 10 * s.length.bit_length())
    return _cost(s, flops=flops, floats=transforms / 2 + 12 * powers, launches=60)


def _windows(s: Structure, algorithm: str) -> float:
    return max(1.0, s.length / window(s, algorithm, "torch"))


def segments(s: Structure, algorithm: str, backend: str) -> int:
    """How many segments T is cut into, where heads and tiles of V alone do not fill a GPU."""
    if backend != "triton" or algorithm not in _SEGMENTED:
        return 1
    return min(_segment_counts(s, algorithm), key=lambda count: _SEGMENTED[algorithm](s, count).seconds)


def _segment_counts(s: Structure, algorithm: str) -> list[int]:
    """Powers of two that leave programs without work, and segments long enough; 1 first."""
    tiles = choose(s, algorithm).tiles
    assert not isinstance(tiles, Scans)
    programs = s.batch * s.heads * -(-s.value // min(tiles.value, s.value))
    chunks = s.length * s.substeps // tiles.chunk
    counts = [1]
    while programs * counts[-1] < PROGRAMS and chunks >= 2 * counts[-1] * SEGMENT_CHUNKS:
        counts.append(2 * counts[-1])
    return counts


def _cost_chunked_kernel(s: Structure) -> Cost:
    return _chunked_segments(s, segments(s, "chunked", "triton"))


def _chunked_segments(s: Structure, count: int) -> Cost:
    """Of the Triton kernels: what is read and written once, and what a launch of its own makes of decays first; the
    chunks of a segment follow one another. Several segments read what is written twice.
    """
    width = 2 if "16" in s.activations else 4
    size, inside = chunk(s, "chunked", "triton"), made_in_kernels(s, "chunked")
    floats = (1 + s.reads + (count > 1)) * (s.key + s.value) * width / 4
    flops = 2 * size * (s.key + s.value) * s.reads + 2 * s.key * s.value * (1 + s.reads + (count > 1))
    for name, varies, entries in (("key", s.decay_over_key, s.key), ("value", "value" in s.parts, s.value)):
        if varies:  # decays, scores and what comes decayed, written and read again
            levels = size.bit_length() - 1
            floats += entries * (width / 4 if name in inside else 1)
            floats += 2 * (size * s.reads + (1 + s.reads) * entries) * width / 4
            flops += 2 * size * entries * (2 * (levels + 2) + levels * s.reads)
    launches = 3 if count == 1 else 6 + 2 * count
    cost = _cost(s, flops=_tokens(s) * flops, floats=_tokens(s) * floats + _lowered(s, inside), launches=launches)
    return _at_least(cost, sweeps=1 if count == 1 else 1.5, chunks=s.length * s.substeps / size / count)


def _at_least(cost: Cost, *, sweeps: float, chunks: float) -> Cost:
    """No faster than the chunks of a segment that follow one another; a sweep that reads nothing counts as half."""
    return replace(cost, seconds=max(cost.seconds, sweeps * CHUNK_SECONDS * chunks))


def _cost_delta_kernel(s: Structure) -> Cost:
    return _delta_segments(s, segments(s, "delta", "triton"))


def _delta_segments(s: Structure, count: int) -> Cost:
    """Of the Triton kernels: two columns and a row more than chunked, scores in float32, and a solution a chunk.

    Several segments sweep twice more, for what each writes into an empty memory and for what it makes of one of K × K.
    """
    width = 2 if "16" in s.activations else 4
    size = chunk(s, "delta", "triton")
    levels, rows = size.bit_length() - 1, 1 + s.reads
    floats = (3 + 2 * rows) * (2 * s.key + s.value) * width / 4 + 4 * size * rows + s.key * s.decay_over_key
    scores = 2 * (2 * size * s.key) * (2 * (levels + 2) + levels * rows if s.decay_over_key else rows)
    solved = 4 * size * size * levels + 2 * size * (s.key + 2 * s.value)
    flops = scores + solved + 2 * size * 2 * s.value * s.reads + 2 * s.key * s.value * (3 + s.reads)
    if count > 1:
        floats += (7 * s.key + 2 * s.value) * width / 4
        flops += 2 * solved + 6 * s.key * (s.value + s.key)
    launches = 4 if count == 1 else 8 + 2 * count
    cost = _cost(s, flops=_tokens(s) * flops, floats=_tokens(s) * floats + _lowered(s), launches=launches)
    return _at_least(cost, sweeps=1 if count == 1 else 2, chunks=s.length * s.substeps / size / count)


def _cost_elementwise_kernel(s: Structure) -> Cost:
    """Of the Triton kernels: every entry of the memory is decayed and written at each step, in registers."""
    width = 2 if "16" in s.activations else 4
    entries = s.key * s.value
    size = chunk(s, "elementwise", "triton")
    wide = entries * (len(s.per_channel) + (s.gate_over_both or s.phase_over_value))
    floats = ((1 + s.reads) * (s.key + s.value) + wide) * width / 4 + 2 * entries / size
    # a scan of a chunk takes log₂ C turns of three operations, an exponential counts as ten
    scanned = entries * (10 + 3 * (size.bit_length() - 1) + 2 * s.reads)
    slower = SPEEDS["cuda"][0] / SCALAR_SPEED
    flops = _tokens(s) * scanned * slower
    lowered = _lowered(s, made_in_kernels(s, "elementwise"))
    return _cost(s, flops=flops, floats=_tokens(s) * floats + lowered, launches=1)


#: The forward cost of the kernels that may cut T, by how many segments it is cut into.
_SEGMENTED: dict[str, Callable[[Structure, int], Cost]] = {"chunked": _chunked_segments, "delta": _delta_segments}
#: The forward cost of every algorithm, by backend.
COSTS: dict[str, dict[str, Callable[[Structure], Cost]]] = {
    "torch": {
        "sequential": _cost_sequential,
        "chunked": _cost_chunked,
        "elementwise": _cost_elementwise,
        "delta": _cost_delta,
        "fft": _cost_fft,
    },
    "triton": {
        "chunked": _cost_chunked_kernel,
        "elementwise": _cost_elementwise_kernel,
        "delta": _cost_delta_kernel,
    },
}
