"""A record in the notation of the mathematics: what ψ does, and over which axes its parts reach."""

from eos.record import Recurrence, parts

#: The parts of a record behind each symbol.
_SYMBOLS = {
    "o": ("head", "key", "value", "rate", "log_gate"),
    "φ": ("phase", "phase_rate"),
    "a": ("erase",),
    "g": ("gate", "log_gate"),
    "e": ("expand",),
    "s": ("shrink",),
}
_WITH_STEP = {"rate", "phase_rate"}


def memory_equation(record: Recurrence) -> str:
    """``m_t = o_t ∘ m_{t-1} + e_t i_tᵀ``, as far as the record has parts; one without _t is the same at all steps."""
    kept = "m_{t-1}"
    if phase := _symbol(record, "φ"):
        kept = f"R({phase}) {kept}"
    if decay := _symbol(record, "o"):
        kept = f"{decay} ∘ {kept}"
    if erased := _symbol(record, "a"):
        kept = f"{kept} + {erased} ({erased.replace('a', 'b')}ᵀ m_{{t-1}})"
    written = _symbol(record, "e")
    if gate := _symbol(record, "g"):
        written = f"({gate} ∘ {written})"
    return f"m_t = {kept} + {written} i_tᵀ"


def read_equation(record: Recurrence) -> str:
    """``y_t = m_tᵀ s_t``."""
    memory = "m_{t-1}" if record.read == "before" else "m_t"
    return f"y_t = {memory}ᵀ {_symbol(record, 's')}"


def reach(record: Recurrence) -> str:
    """Over which axes of a head's memory its decay, phase and gate reach; empty where it has none."""
    said = []
    for symbol in ("o", "φ", "g"):
        if name := _symbol(record, symbol):
            axes = _axes(record, symbol)
            over = [word for word, letters in (("K/2", "Q"), ("K", "KP"), ("V", "V")) if axes & set(letters)]
            said.append(f"{name} over {' × '.join(over)}" if over else f"{name} one a head")
    return ", ".join(said)


def _symbol(record: Recurrence, symbol: str) -> str:
    """The symbol with _t where it depends on time, empty where the record has none of its parts."""
    names = {name for name, _, _ in _parts(record)}
    if names.isdisjoint(_SYMBOLS[symbol]):
        return ""
    return f"{symbol}_t" if _axes(record, symbol) & {"T", "S"} else symbol


def _axes(record: Recurrence, symbol: str) -> set[str]:
    """The axes along which a symbol's parts differ."""
    names = set(_SYMBOLS[symbol])
    if names & _WITH_STEP & {name for name, _, _ in _parts(record)}:
        names.add("step")
    return {
        axis
        for name, axes, sizes in _parts(record)
        if name in names
        for axis, n in zip(axes, sizes, strict=True)
        if n > 1
    }


def _parts(record: Recurrence) -> list[tuple[str, tuple[str, ...], tuple[int, ...]]]:
    return [(label.partition("[")[0], axes, tuple(tensor.shape)) for label, axes, tensor in parts(record)]
