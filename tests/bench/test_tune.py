"""``eos tune``: what the search finds, what it leaves out, what it keeps; on a GPU, all of it."""

from collections.abc import Callable, Iterator
from dataclasses import asdict, replace
from math import log2
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from triton.runtime.errors import OutOfResources

import eos
from eos.bench import tune
from eos.bench.tune import PASSES, Measure, Times, candidates, on_device, search
from eos.cli.main import main
from eos.engine.plan import plan_structure
from eos.engine.triton import chunked, table
from eos.engine.triton.support import ALGORITHMS
from eos.engine.triton.table import own_path, own_table, read
from eos.engine.triton.tiles import SHIPPED, SIZES, Row, Served, Tiles

GPU = "A GPU of 2026"


def served(algorithm: str = "chunked", *, size: int = 128, dtype: torch.dtype = torch.bfloat16) -> Served:
    return Served.of(algorithm, key=size, value=size, dtype=dtype, architecture="sm_90")


def away_from(best: Row) -> Measure:
    """Tiles take longer the farther each of their sizes is from the best one, in the passes that it acts on."""

    def measure(tiles: Row) -> Times:
        assert isinstance(tiles, type(best))
        away = {name: abs(log2(size / getattr(best, name))) for name, size in asdict(tiles).items()}
        forward, backward = (
            10 + sum(far for name, far in away.items() if PASSES.get(name, one) == one)
            for one in ("forward", "backward")
        )
        return Times(forward=forward, backward=backward)

    return measure


def corner(kind: Served, place: int) -> Row:
    """The row whose sizes are all the first, or all the last, that a search tries."""
    sizes: dict[str, Any] = {}
    for name, size in candidates(kind):
        sizes.setdefault(name, size)
        sizes[name] = (sizes[name], size)[place]
    return replace(SHIPPED[kind], **sizes)


@pytest.mark.parametrize("place", [0, 1])
@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_the_best_is_found_and_nothing_is_measured_twice(algorithm: str, place: int) -> None:
    kind = served(algorithm)
    best = corner(kind, place)
    seen: list[Row] = []

    def measure(tiles: Row) -> Times | None:
        seen.append(tiles)
        return away_from(best)(tiles)

    found = search(kind, measure)
    assert found is not None
    assert found.tiles == best
    assert found.before == away_from(best)(SHIPPED[kind])
    assert found.after == away_from(best)(best)
    assert len(set(seen)) == len(seen) < 3 * len(list(candidates(kind)))


def test_no_tile_is_wider_than_what_it_holds() -> None:
    kind = Served.of("chunked", key=64, value=16, dtype=torch.bfloat16, architecture="sm_90")
    widest: dict[str, int] = {}
    for name, size in candidates(kind):
        assert size in SIZES[name]
        widest[name] = max(size, widest.get(name, 0))
    assert (widest["value"], widest["far"], widest["chunk"]) == (16, 64, 64)


def test_tiles_that_do_not_run_are_left_out() -> None:
    best = Tiles(chunk=32, value=16, stages=3)

    def measure(tiles: Row) -> Times | None:
        assert isinstance(tiles, Tiles)
        return None if tiles.value == 16 or tiles.stages == 3 else away_from(best)(tiles)

    found = search(served(), measure)
    assert found is not None
    assert isinstance(found.tiles, Tiles)
    assert (found.tiles.chunk, found.tiles.value, found.tiles.stages) == (32, 32, 2)
    assert search(served(), lambda tiles: None) is None


def test_a_gpu_too_small_for_what_is_shipped_starts_from_the_smallest() -> None:
    def measure(tiles: Row) -> Times | None:
        assert isinstance(tiles, Tiles)
        return None if tiles.chunk > 32 or tiles.stages > 1 else away_from(Tiles(chunk=64))(tiles)

    found = search(served(), measure)
    assert found is not None
    assert found.before is None
    assert found.tiles == Tiles(chunk=32, stages=1)


def test_a_difference_within_the_noise_changes_nothing() -> None:
    times = iter([1.0] + 100 * [0.99, 1.01])
    found = search(served(), lambda tiles: Times(forward=(each := next(times)), backward=each))
    assert found is not None
    assert found.tiles == SHIPPED[served()]


def test_of_a_field_of_one_pass_only_that_pass_counts() -> None:
    def measure(tiles: Row) -> Times:
        assert isinstance(tiles, Tiles)
        return Times(forward=1.0 + (tiles.near == 16), backward=1.0 - 0.1 * (tiles.near == 16))

    found = search(served(), measure)
    assert found is not None
    assert found.tiles == replace(SHIPPED[served()], near=16)  # type: ignore[type-var]


def test_every_kind_has_an_even_share_of_the_time() -> None:
    now, counts = 0.0, dict.fromkeys(map(served, ALGORITHMS), 0)

    def measuring(kind: Served) -> Measure:
        def measure(tiles: Row) -> Times:
            nonlocal now
            now += 2.0
            counts[kind] += 1
            return Times(forward=1.0, backward=1.0)

        return measure

    found = list(tune.tune(list(counts), measuring, seconds=18.0, clock=lambda: now))
    assert [kind for kind, _ in found] == list(counts)
    assert list(counts.values()) == [3, 3, 3]
    now, counts = 0.0, dict.fromkeys(counts, 0)
    found = list(tune.tune(list(counts), measuring, seconds=3.0, clock=lambda: now))
    assert list(counts.values()) == [1, 1, 0]
    assert len(found) == 2


# What measures, interpreted: of one head.


@pytest.fixture
def tiny(monkeypatch: pytest.MonkeyPatch, untyped: None) -> None:
    for name, size in {"BATCH": 1, "LENGTH": 2, "WIDTH": 16, "CHECKED_LENGTH": 3}.items():
        monkeypatch.setattr(tune, name, size)


def measured(algorithm: str) -> Callable[[Row], Times | None]:
    """What measures small records in the interpreter, where each pass takes one millisecond by the clock."""

    def milliseconds(run: Callable[[], object]) -> float:
        run()
        return 1.0

    kind = served(algorithm, size=16, dtype=torch.float32)
    return on_device(kind, dtype=torch.float32, device="cpu", milliseconds=milliseconds)


@pytest.mark.usefixtures("tiny")
@pytest.mark.parametrize(("algorithm", "kinds"), [("chunked", 4), ("delta", 2), ("elementwise", 1)])
def test_tiles_that_are_right_have_the_time_of_every_kind_of_record(algorithm: str, kinds: int) -> None:
    tiles = corner(served(algorithm, size=16), 0)
    assert measured(algorithm)(tiles) == Times(forward=float(kinds), backward=float(kinds))


@pytest.mark.usefixtures("tiny")
@pytest.mark.parametrize("factor", [1 + 1e-4, float("nan")])
@pytest.mark.parametrize("direction", ["forward", "backward"])
def test_tiles_that_are_wrong_have_none(monkeypatch: pytest.MonkeyPatch, direction: str, factor: float) -> None:
    right: Callable[..., Any] = getattr(chunked.Launch, direction)

    def wrong(*arguments: Any) -> Any:
        first, memory = right(*arguments)
        return (tuple(y * factor for y in first) if direction == "forward" else _scaled(first, factor)), memory

    monkeypatch.setattr(chunked.Launch, direction, wrong)
    assert measured("chunked")(Tiles(chunk=16)) is None


def _scaled(gradients: Any, factor: float) -> Any:
    return replace(gradients, expand=gradients.expand * factor)


@pytest.mark.usefixtures("tiny")
@pytest.mark.parametrize(
    ("error", "fits_not"),
    [
        (OutOfResources(300_000, 232_448, "shared memory"), True),
        (torch.OutOfMemoryError("CUDA out of memory"), True),
        (RuntimeError("PassManager::run failed"), True),
        (RuntimeError("CUDA error: an illegal memory access was encountered"), False),
        (KeyboardInterrupt(), False),
    ],
    ids=lambda held: type(held).__name__,
)
def test_what_does_not_fit_has_none_and_what_is_broken_is_told(
    monkeypatch: pytest.MonkeyPatch, error: BaseException, fits_not: bool
) -> None:
    def raising(*_: object) -> Tensor:
        raise error

    measure = measured("chunked")
    monkeypatch.setattr(chunked.Launch, "forward", raising)
    if fits_not:
        assert measure(Tiles()) is None
    else:
        with pytest.raises(type(error)):
            measure(Tiles())


# The command.


@pytest.fixture
def on_a_gpu(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """A machine with a GPU, where tiles with chunks of 16 are best, and a user without a table."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    monkeypatch.setattr(table, "gpu_name", lambda: GPU)
    monkeypatch.setattr(tune, "on_device", lambda kind, dtype: away_from(corner(kind, 0)))
    own_table.cache_clear()
    plan_structure.cache_clear()
    yield
    own_table.cache_clear()
    plan_structure.cache_clear()


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    status = main(["tune", *arguments])
    said = capsys.readouterr()
    return status, said.out, said.err


@pytest.mark.usefixtures("on_a_gpu")
def test_what_is_found_is_kept_and_told(capsys: pytest.CaptureFixture[str]) -> None:
    status, out, _ = run(capsys, "--algorithm", "chunked", "--key", "64", "--key", "33", "--key", "128")
    assert status == 0
    assert [kind.key for _, kind in read(own_path())] == [64, 128]
    for (gpu, kind), row in read(own_path()).items():
        assert (gpu, row.tiles) == (GPU, corner(kind, 0))
    assert f"{GPU}, at most 900 s; written to {own_path()}" in out
    assert "chunked K=64 V=64 16 bits" in out
    assert "forward" in out
    assert "chunk 64 → 16" in out
    kept = read(own_path())
    run(capsys, "--algorithm", "elementwise", "--key", "16", "--dtype", "float32")
    assert len(read(own_path())) == 3
    assert kept.items() <= read(own_path()).items()


@pytest.mark.usefixtures("on_a_gpu")
def test_an_interrupt_keeps_what_was_finished(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def measuring(kind: Served, dtype: torch.dtype) -> Measure:
        def stopped(tiles: Row) -> Times:
            if kind.key == 128:
                raise KeyboardInterrupt
            return Times(forward=1.0, backward=1.0)

        return stopped

    monkeypatch.setattr(tune, "on_device", measuring)
    status, out, _ = run(capsys, "--algorithm", "delta", "--key", "64", "--key", "128", "--key", "256")
    assert status == 130
    assert [kind.key for _, kind in read(own_path())] == [64]
    assert "as shipped" in out
    assert out.count("not measured") == 2


@pytest.mark.usefixtures("on_a_gpu")
def test_where_nothing_runs_nothing_is_written(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tune, "on_device", lambda kind, dtype: lambda tiles: None)
    status, out, _ = run(capsys, "--key", "16")
    assert status == 0
    assert out.count("no tiles run here") == 3
    assert not own_path().exists()


@pytest.mark.usefixtures("on_a_gpu")
def test_a_table_that_cannot_be_used_is_told_before_anything_is_measured(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    own_path().parent.mkdir()
    own_path().write_text("{", encoding="utf-8")
    monkeypatch.setattr(tune, "on_device", None)
    status, out, err = run(capsys)
    assert (status, out) == (2, "")
    assert f"eos: error: your table of tiles, {own_path()}: cannot be read as JSON" in err
    assert own_path().read_text(encoding="utf-8") == "{"


@pytest.mark.usefixtures("on_a_gpu")
def test_a_dry_run_measures_nothing_and_needs_no_gpu(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(table, "gpu_name", lambda: None)
    status, out, _ = run(capsys, "--dry-run", "--algorithm", "chunked", "--key", "200", "--value", "16")
    assert status == 0
    assert "chunked K=256 V=16 16 bits  chunk 16 " in out
    assert "nothing was measured" in out
    assert not own_path().exists()
    status, out, err = run(capsys)
    assert (status, out) == (2, "")
    assert "PyTorch finds none here: run eos tune on the machine that trains" in err
    status, _, err = run(capsys, "--value", "16")
    assert status == 2
    assert "--value was given without --key" in err


@pytest.mark.gpu
def test_a_key_tuned_on_a_gpu_is_what_plans_take(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    status, out, _ = run(capsys, "--algorithm", "chunked", "--key", "16", "--seconds", "60")
    assert status == 0, out
    ((gpu, kind), row) = next(iter(read(own_path()).items()))
    assert (gpu, kind.key) == (torch.cuda.get_device_name(), 16)
    own_table.cache_clear()
    plan_structure.cache_clear()
    x = torch.randn(2, 65, 2, 16, dtype=torch.bfloat16, device="cuda")
    record = eos.Recurrence(input=x, expand=x, shrink=x, transition=eos.Transition())
    plan = eos.plan(record, backend="triton", algorithm="chunked")
    assert f"tiles: yours, measured {row.measured}" in str(plan)
    y, _ = eos.scan(record, backend="triton", algorithm="chunked")
    assert isinstance(y, Tensor)
    want, _ = eos.scan(record, backend="torch")
    assert isinstance(want, Tensor)
    torch.testing.assert_close(y, want, rtol=2e-2, atol=2e-2 * float(want.abs().max()))
    own_table.cache_clear()
    plan_structure.cache_clear()
