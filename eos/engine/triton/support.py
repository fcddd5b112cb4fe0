"""What the Triton backend runs, and why not what it does not. Imports triton only when it is asked."""

from eos.engine.structure import Structure

#: The algorithms that have kernels.
ALGORITHMS = ("chunked", "elementwise", "delta")
#: What a tile holds of K or V at most.
WIDEST = 256


def refuse(s: Structure, algorithm: str) -> str | None:
    """Why the kernels cannot run an algorithm on a record, or None."""
    if s.device != "cuda" and not _interpreted():
        return f"the record is on {s.device} and the kernels run on a GPU; backend='torch' runs it here"
    if "64" in s.dtype:
        return "the kernels keep a float32 memory; backend='torch' runs float64"
    if algorithm not in ALGORITHMS:
        return f"there is no kernel of the {algorithm} algorithm in this version; backend='torch' runs it"
    if algorithm != "elementwise" and max(s.key, s.value) > WIDEST:
        return f"a tile holds at most {WIDEST} entries of K or V, got K = {s.key}, V = {s.value}"
    return None


def _interpreted() -> bool:
    """Whether Triton interprets its kernels, as the tests do on a machine without a GPU."""
    from triton import knobs

    return bool(knobs.runtime.interpret)
