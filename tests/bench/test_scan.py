"""``eos bench scan`` without a GPU: what it predicts and counts, what peers are called with, and what it says."""

import json
import math
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from torch import Tensor

from eos.bench import gpu_clock, scan
from eos.bench.gpu_clock import GpuClock, Rates
from eos.bench.peers import PEERS
from eos.bench.scan import Timing, rows
from eos.bench.scan_cases import CASES, FIRST, SOFTMAX, Case, Kind, Shape, draw, moved, operations, plan_of, record
from eos.bench.scan_rows import Row
from eos.cli.main import main
from eos.engine.sequential import sequential
from tests.compare import relative_error
from tests.tolerances import EXACT

DOCS = Path(__file__).parents[2] / "docs/results.md"
TINY = Shape(2, 7, 3, 4, 5)
OF_KIND = [(case.kind, name) for case in CASES for name in case.peers if PEERS[name].same]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_gpu_would_run_every_case_by_a_kernel(case: Case) -> None:
    plan = plan_of(case)
    assert plan.backend == "triton", str(plan)
    assert 0 < plan.cost.seconds < 1
    assert set(case.peers) <= set(PEERS)


def test_every_row_has_a_name_of_its_own_and_a_prediction() -> None:
    found = list(rows(None))
    assert len({row.name for row in found}) == len(found) == 2 * len(CASES)
    assert all(math.isfinite(row.predicted) and row.seconds is None and not row.missed for row in found)


def test_bytes_and_operations_are_those_counted_by_hand() -> None:
    """B=8 T=8192 H=16 K=V=128: 2^20 tokens of a head, 128 numbers of 2 bytes in each of q, k, v and y."""
    head, tokens, one = Case("head decay", FIRST, {}), 1 << 20, 256
    assert moved(head, backward=False) == tokens * (4 * one + 4) == 1_077_936_128
    assert moved(head, backward=True) == tokens * (8 * one + 8)
    assert operations(head, backward=False) == tokens * (2 * 64 * 256 + 2 * 2 * 128 * 128)
    assert operations(head, backward=True) == 3 * operations(head, backward=False)
    rates = Rates(copy=4.3e12, matrix=7e14)
    floor = rates.floor(moved=moved(head, backward=False), operations=operations(head, backward=False))
    assert floor == pytest.approx(0.25e-3, rel=0.01)
    # an erase: C × C scores of k with k, its triangle solved for K and V entries, and U m read
    erased = 6 * 64 * 128 + 4 * 64 * 128 + 6 * 128 * 128 + 2 * 64 * 64 // 3
    assert operations(Case("gated delta", FIRST, {}), backward=False) == tokens * erased
    wide = Case("elementwise", Shape(8, 8192, 1, 1, 2048), {})  # x and y of 2 bytes, log-decays of 4
    assert moved(wide, backward=False) == 8 * 8192 * 2048 * 8 + 2
    assert operations(wide, backward=False) == 8 * 8192 * 2048 * 5


def walked(o: Callable[[int, Tensor], Tensor], write: Callable[[int, Tensor], Tensor], q: Tensor, v: Tensor) -> Tensor:
    """y_t = q_tᵀ h_t of h_t = o_t ∘ h_{t-1}, then + write."""
    batch, length, heads, key = q.shape
    h, ys = q.new_zeros(batch, heads, key, v.shape[-1]), []
    for t in range(length):
        h = o(t, h)
        h = h + write(t, h)
        ys.append(torch.einsum("bhk,bhkv->bhv", q[:, t], h))
    return torch.stack(ys, 1)


def naive_simple_gla(q: Tensor, k: Tensor, v: Tensor, g: Tensor, scale: float) -> tuple[Tensor, None]:
    def write(t: int, h: Tensor) -> Tensor:
        return k[:, t, :, :, None] * v[:, t, :, None]

    return walked(lambda t, h: g[:, t].exp()[..., None, None] * h, write, q * scale, v), None


def naive_retention(q: Tensor, k: Tensor, v: Tensor, scale: float) -> tuple[Tensor, None]:
    gamma = 1 - 2.0 ** (-5.0 - torch.arange(q.shape[2], dtype=q.dtype))
    return naive_simple_gla(q, k, v, gamma.log().expand(q.shape[:3]), scale)


def naive_gla(q: Tensor, k: Tensor, v: Tensor, g: Tensor, scale: float) -> tuple[Tensor, None]:
    def write(t: int, h: Tensor) -> Tensor:
        return k[:, t, :, :, None] * v[:, t, :, None]

    return walked(lambda t, h: g[:, t].exp()[..., None] * h, write, q * scale, v), None


def naive_gated_delta_rule(
    q: Tensor, k: Tensor, v: Tensor, g: Tensor, beta: Tensor, scale: float
) -> tuple[Tensor, None]:
    def write(t: int, h: Tensor) -> Tensor:
        new = beta[:, t, :, None] * (v[:, t] - torch.einsum("bhkv,bhk->bhv", h, k[:, t]))
        return k[:, t, :, :, None] * new[:, :, None]

    return walked(lambda t, h: g[:, t].exp()[..., None, None] * h, write, q * scale, v), None


def naive_hgrn(x: Tensor, g: Tensor) -> tuple[Tensor, None]:
    h, ys = torch.zeros_like(x[:, 0]), []
    for t in range(x.shape[1]):
        h = g[:, t].exp() * h + x[:, t]
        ys.append(h)
    return torch.stack(ys, 1), None


def naive_selective_scan(u: Tensor, delta: Tensor, A: Tensor, B: Tensor, C: Tensor) -> Tensor:
    """u, delta [B,D,L], A [D,N], B and C [B,N,L], with time in a row of memory."""
    assert all(x.is_contiguous() for x in (u, delta, A, B, C))
    x, ys = u.new_zeros(*u.shape[:2], A.shape[1]), []
    for t in range(u.shape[2]):
        step = delta[..., t, None]
        x = (step * A).exp() * x + step * B[:, None, :, t] * u[..., t, None]
        ys.append((x * C[:, None, :, t]).sum(-1))
    return torch.stack(ys, -1)


NAIVE: dict[str, Callable[..., Any]] = {
    "chunk_retention": naive_retention,
    "chunk_simple_gla": naive_simple_gla,
    "chunk_gla": naive_gla,
    "chunk_gated_delta_rule": naive_gated_delta_rule,
    "chunk_hgrn": naive_hgrn,
    "fused_recurrent_hgrn": naive_hgrn,
    "selective_scan_fn": naive_selective_scan,
}


@pytest.mark.parametrize(("kind", "name"), sorted(set(OF_KIND)))
def test_a_peer_is_called_for_what_the_record_computes(kind: Kind, name: str) -> None:
    """y and every gradient in float64, of the peer's documented formula."""
    shape = Shape(2, 7, 1, 4 if kind == "rate × step" else 1, 5) if kind in ("elementwise", "rate × step") else TINY
    held = draw(Case(kind, shape, {}), device="cpu", dtype=torch.float64)
    (want,), _, _ = sequential(record(kind, held))
    peer = PEERS[name]
    stored = {label: peer.stored(x) for label, x in held.items()}
    got = peer.call(NAIVE[name], stored)
    direction = torch.randn(want.shape, dtype=want.dtype, generator=torch.Generator().manual_seed(1))
    leaves, theirs = ([x for x in from_.values() if x.requires_grad] for from_ in (held, stored))
    wants = [want, *torch.autograd.grad(want, leaves, direction)]
    gots = [got, *torch.autograd.grad(got, theirs, peer.stored(direction))]
    assert all(relative_error(*pair) <= EXACT for pair in zip(gots, wants, strict=True))


def test_softmax_is_causal_and_over_time() -> None:
    held = draw(Case("head decay", TINY, {}), device="cpu", dtype=torch.float64)
    peer = PEERS[SOFTMAX]
    q, k, v = (held[name] for name in ("shrink", "expand", "input"))
    scores = torch.einsum("bthk,bshk->bhts", q, k) / TINY.key**0.5
    mask = torch.ones(TINY.length, TINY.length).triu(1).bool()
    want = torch.einsum("bhts,bshv->bthv", scores.masked_fill(mask, -math.inf).softmax(-1), v)
    got = peer.call(peer.load(), {name: peer.stored(x) for name, x in held.items()})
    assert relative_error(got, want) <= EXACT


def rounded_gla(**held: Any) -> tuple[Tensor, None]:
    """In float32, with y in the dtype of v, as the kernel has it."""
    wide = {name: x.float() if isinstance(x, Tensor) else x for name, x in held.items()}
    return naive_simple_gla(**wide)[0].to(held["v"].dtype), None


def fake_fla(monkeypatch: pytest.MonkeyPatch, **functions: Callable[..., Any]) -> None:
    """fla.ops.simple_gla and fla.ops.retention with these functions, and no other module of fla."""
    for name in ("fla", "fla.ops", "fla.ops.simple_gla", "fla.ops.retention"):
        module = ModuleType(name)
        module.__path__ = []
        monkeypatch.setitem(sys.modules, name, module)
        for function, run in functions.items():
            setattr(module, function, run)


def counted(things: Mapping[str, Callable[[], object]]) -> dict[str, float]:
    """Runs each once, and says that ours took 2 ms and every peer 3."""
    for run in things.values():
        run()
    return {name: 2e-3 if name == "eos" else 3e-3 for name in things}


ON = Timing(device="cpu", measure=counted, rates=Rates(copy=1e9, matrix=1e12))
HEAD = Case("head decay", TINY, {"chunk_simple_gla": 1.2, SOFTMAX: None}, floor=2.0)


def test_a_timed_row_has_its_ratios(monkeypatch: pytest.MonkeyPatch) -> None:
    fake_fla(monkeypatch, chunk_simple_gla=rounded_gla)
    forward, both = rows(ON, [HEAD])
    for row in (forward, both):
        assert row.failure is None
        assert row.seconds == 2e-3
        assert row.floor == pytest.approx(row.moved / 1e9)
        gla, softmax = row.peers
        assert gla.ratio == softmax.ratio == 1.5
        assert gla.difference is not None
        assert 0 <= gla.difference < scan.TOLERANCE
        assert softmax.note == "another function"
    own, floor, *against = forward.checks()
    assert own.value == 2.0
    assert floor.bound == 2.0
    assert [check.bound for check in against] == [1.2, None]
    assert forward.missed == 1  # 2 ms where 2 × the floor is 4 µs
    assert both.missed == 0  # whose floor is only reported


@pytest.mark.parametrize("wrong", ["y", "gradients"])
def test_a_peer_that_differs_is_not_compared(monkeypatch: pytest.MonkeyPatch, wrong: str) -> None:
    def off(**held: Any) -> tuple[Tensor, None]:
        y, _ = rounded_gla(**held)
        return (1.1 * y if wrong == "y" else y + 0.1 * (y - y.detach())), None

    fake_fla(monkeypatch, chunk_simple_gla=off)
    forward, both = rows(ON, [HEAD])
    row = forward if wrong == "y" else both
    assert row.peers[0].note == "differs, not compared"
    assert row.peers[0].ratio is None
    assert row.peers[0].difference == pytest.approx(0.09, abs=0.02)
    assert row.peers[1].ratio == 1.5


def test_what_fails_is_said_in_its_row_and_the_others_go_on(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(**_: Any) -> Any:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB")

    fake_fla(monkeypatch, chunk_simple_gla=full)
    found = list(rows(ON, [HEAD, Case("constant decay", TINY, {"chunk_retention": 1.2})]))
    notes = [row.peers[0].note for row in found]
    assert notes[:2] == 2 * ["out of memory"]
    assert all("has no attribute 'chunk_retention'" in note for note in notes[2:])
    assert all(row.seconds == 2e-3 for row in found)


def test_a_peer_that_is_not_installed_is_no_error() -> None:
    if "fla" in sys.modules:
        pytest.skip("it is installed")
    row, _ = rows(ON, [HEAD])
    assert row.peers[0].note == "peer not installed: pip install fla-core"
    assert row.peers[1].ratio == 1.5


def test_ours_failing_is_a_miss_and_not_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: Any) -> Any:
        raise RuntimeError("out of resource: shared memory\nand a long trace")

    with monkeypatch.context() as patched:
        patched.setattr(scan.engine, "scan", broken)
        found: list[Row] = list(rows(ON, [HEAD]))
    assert [row.failure for row in found] == 2 * ["RuntimeError: out of resource: shared memory"]
    assert [row.missed for row in found] == [1, 1]
    assert "shared memory" in next(found[0].checks()).detail


def test_a_clock_takes_turns_flushes_and_leaves_warm_up_out() -> None:
    log: list[str] = []

    class Event:
        def __init__(self) -> None:
            self.place = 0

        def record(self) -> None:
            log.append("|")
            self.place = len(log)

        def elapsed_time(self, end: "Event") -> float:
            return {"a": 1.0, "b": 2.0}[log[self.place]] * (end.place - self.place - 1)

    clock = GpuClock(event=Event, flush=lambda: log.append("flush"), synchronize=lambda: log.append("wait"))
    seconds = clock({"a": lambda: log.append("a"), "b": lambda: log.append("b")})
    warm = gpu_clock.WARM_UP
    turn = ["flush", "|", "a", "|", "flush", "|", "b", "|"]
    assert log == ["a"] * warm + ["b"] * warm + turn * gpu_clock.ROUNDS + ["wait"]
    assert seconds == {"a": 1e-3, "b": 2e-3}


def test_rates_count_bytes_both_ways(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpu_clock, "COPIED_BYTES", 1000)
    monkeypatch.setattr(gpu_clock, "ROWS", 10)
    seconds = {"copy": 1e-3, "matrix": 1e-6}

    def measure(things: Mapping[str, Callable[[], object]]) -> dict[str, float]:
        return {name: seconds[name] for name, run in things.items() if run() is not None}

    rates = gpu_clock.measure_rates(measure, device="cpu")
    assert rates.copy == pytest.approx(2e6)
    assert rates.matrix == pytest.approx(2e9)


def test_a_driver_says_its_version() -> None:
    said = "NVRM version: NVIDIA UNIX x86_64 Kernel Module  570.86.15  Thu Jan 23 2025"
    assert gpu_clock.driver(said) == "570.86.15"
    assert gpu_clock.driver("") == "unknown"


def test_without_a_gpu_figures_are_not_measured(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    kept = tmp_path / "rows.json"
    assert main(["bench", "scan", "--json", str(kept)]) == 0
    out = capsys.readouterr().out
    held = json.loads(kept.read_text(encoding="utf-8"))
    assert held["rates"] is None
    assert held["machine"]["torch"] == torch.__version__
    assert len(held["rows"]) == 2 * len(CASES)
    for row in held["rows"]:
        assert row["seconds"] is row["floor"] is None
        assert f"{row['name']}: not measured  [predicted {row['predicted'] * 1e3:.3g} ms" in out


def test_the_table_has_a_line_a_peer_and_is_that_of_the_docs(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", "scan", "--markdown"]) == 0
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("|")]
    assert len(lines) == 2 + 2 * sum(len(case.peers) for case in CASES)
    assert len({line.count("|") for line in lines}) == 1
    text = DOCS.read_text(encoding="utf-8")
    for line in lines:
        assert "|".join(line.split("|")[:4]) in text


def test_with_a_gpu_every_figure_is_printed_and_kept(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fake_fla(monkeypatch, chunk_simple_gla=rounded_gla)
    monkeypatch.setattr(scan, "timing", lambda: ON)
    monkeypatch.setattr(scan, "rows", lambda on: rows(on, [HEAD]))
    monkeypatch.setattr(gpu_clock, "machine", lambda device: {"device": "a GPU", "driver": "1.2"})
    kept = tmp_path / "rows.json"
    with pytest.raises(SystemExit, match="1"):
        main(["bench", "scan", "--device", "cuda", "--json", str(kept)])
    out = capsys.readouterr().out
    name = "head decay B=2 T=7 H=3 K=4 V=5 bfloat16, forward"
    assert "a GPU, driver 1.2; copy 0.001 TB/s, bfloat16 products 1 TFLOP/s" in out
    for figure in (
        f"     {name}: 2 ms  [",
        f"MISS {name}: over the floor: ",
        f"ok   {name}: chunk_simple_gla / eos: 1.5× (at least 1.2×)  [3 ms, difference ",
        f"     {name}: softmax / eos: 1.5×  [3 ms, another function]",
    ):
        assert figure in out
    row = json.loads(kept.read_text(encoding="utf-8"))["rows"][0]
    assert row["seconds"] == 2e-3
    assert row["peers"][0]["ratio"] == 1.5
    with pytest.raises(SystemExit, match="1"):
        main(["bench", "scan", "--device", "cuda", "--markdown"])
    assert "| 3, difference 0.0e+00 | 1.5 (≥ 1.2) |" in capsys.readouterr().out


@pytest.mark.parametrize("arguments", [["speed", "--device", "cuda"], ["--markdown"], ["scan", "speed", "--json", "x"]])
def test_options_of_scan_go_with_it_alone(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", *arguments]) == 2
    assert "--device, --json and --markdown go with one suite, eos bench scan" in capsys.readouterr().err


def test_a_gpu_asked_for_that_is_not_there_is_said(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert main(["bench", "scan", "--device", "cuda"]) == 2
    assert "torch sees no CUDA device to time on" in capsys.readouterr().err


@pytest.mark.gpu
def test_a_row_is_timed_on_a_gpu() -> None:
    tiny = Case("gated delta", Shape(2, 128, 2, 64, 64), {"chunk_gated_delta_rule": 1.0, SOFTMAX: None}, floor=2.0)
    for row in rows(scan.timing(), [tiny]):
        assert row.failure is None
        assert row.seconds is not None
        assert row.floor is not None
        assert 0 < row.floor < row.seconds < 1
        rule, softmax = row.peers
        assert rule.ratio is not None or rule.note == "peer not installed: pip install fla-core"
        assert softmax.ratio is not None
