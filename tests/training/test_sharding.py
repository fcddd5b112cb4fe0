"""Runs whose model is spread over processes: the numbers of one, at any number of processes."""

import errno
import os
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
from safetensors.torch import load_file
from torch import Tensor
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.tensor import DTensor, Shard

from eos.cli.recipes import load_run_recipe
from eos.errors import RunError
from eos.models import LanguageModel
from eos.training.files import read_json, write_json
from eos.training.folder import RunFolder
from eos.training.optimizer import adamw, clip_gradients, decay_groups
from eos.training.run import resume, train
from eos.training.sharding import first_weights, shard
from eos.training.shards import read_shards, write_shards
from eos.training.world import World, assembled
from tests.parallel.peak import Peak
from tests.parallel.processes import together
from tests.training.torchrun import SMALL, by_one, done, numbers

FSDP = "training.strategy=fsdp"
# layers that share a bound of their gates, which no process shards
HGRN2 = ["model=hgrn2", "layers=2", "training.checkpoint_every=6", *SMALL[2:]]


@pytest.fixture
def world() -> Iterator[World]:
    """A process alone, with its share of a model: all of it."""
    with assembled(load_run_recipe([*SMALL, FSDP]).training) as world:
        yield world


def rewind(run: Path, step: int) -> None:
    """What a run that was killed after a step had left."""
    folder = RunFolder(run)
    folder.result.unlink()
    write_json(folder.checkpoints.index, [each for each in read_json(folder.checkpoints.index) if each["step"] == step])


def compare(count: int, words: Sequence[str], folder: Path, *, own: Sequence[str] = (), tolerance: float) -> Path:
    """The folder of a run of several processes, whose numbers and weights are those of one with the same words."""
    by_one(*HGRN2, *words, run=folder / "one")
    said = done(count, *HGRN2, *words, *own, FSDP, "run=several", folder=folder)
    assert "with a share of the model each" in said
    one, several = folder / "one", folder / "several"
    assert numbers(several) == pytest.approx(numbers(one), rel=tolerance)
    weights = load_file(several / "weights.safetensors")
    for name, weight in load_file(one / "weights.safetensors").items():
        torch.testing.assert_close(weights[name], weight, rtol=0, atol=tolerance)
    return several


def test_numbers_and_weights_are_those_of_one_process_which_goes_on(world: World, tmp_path: Path) -> None:
    run = compare(2, ["training.accumulate=2", "training.recompute=true"], tmp_path, tolerance=2e-4)
    rewind(run, 6)
    assert resume(run, world=world).steps == 12
    assert numbers(run) == pytest.approx(numbers(tmp_path / "one"), rel=2e-4)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("count", "words", "own", "tolerance"),
    [
        (3, ["training.rows=6", "training.evaluation_rows=4"], [], 2e-4),
        (4, [], ["training.sequence_parts=2"], 2e-4),
        (2, ["training.precision=bfloat16"], [], 1e-2),
    ],
)
def test_so_they_are_with_parts_odd_shares_and_bfloat16(
    count: int, words: list[str], own: list[str], tolerance: float, tmp_path: Path
) -> None:
    compare(count, words, tmp_path, own=own, tolerance=tolerance)


@pytest.mark.slow
def test_another_number_of_processes_goes_on(tmp_path: Path) -> None:
    by_one(*HGRN2, run=tmp_path / "one")
    for count, to in ((2, 4), (4, 2)):
        run = tmp_path / f"from-{count}"
        done(count, *HGRN2, FSDP, f"run={run}", folder=tmp_path)
        rewind(run, 6)
        done(to, f"run={run}", "resume=true", folder=tmp_path)
        assert numbers(run) == pytest.approx(numbers(tmp_path / "one"), rel=2e-4)


def test_a_damaged_shard_gives_way_to_the_checkpoint_before(world: World, tmp_path: Path) -> None:
    run = tmp_path / "run"
    words = [*SMALL, FSDP, "training.checkpoint_every=6", "training.validate_every=null"]
    train(load_run_recipe(words), run, world=world)
    checkpoints = RunFolder(run).checkpoints
    assert sorted(path.name for path in checkpoints.at(12).iterdir())[0] == "run.ckpt"
    shard_of_12 = next(checkpoints.at(12).glob("shard-*"))
    shard_of_12.write_bytes(shard_of_12.read_bytes()[:-8])
    assert checkpoints.latest() == (checkpoints.at(6), [checkpoints.at(12)])


def test_shards_keep_their_names_marks_and_decay(world: World) -> None:
    recipe = load_run_recipe(HGRN2)
    model, sharded = LanguageModel(recipe.model, 32), LanguageModel(recipe.model, 32)
    shard(sharded, init_device_mesh("cpu", (1,)), world)
    assert [name for name, _ in sharded.named_parameters()] == [name for name, _ in model.named_parameters()]
    whole = [name for name, each in sharded.named_parameters() if not isinstance(each, DTensor)]
    assert len(whole) == 1, whole  # the bound that layers share

    def listed(model: torch.nn.Module) -> list[list[str]]:
        names = {id(each): name for name, each in model.named_parameters()}
        return [[names[id(each)] for each in group] for group in decay_groups(model, embeddings=False)]

    assert listed(sharded) == listed(model)


@pytest.mark.slow
@pytest.mark.parametrize("cross", ["softmax", "linear"])
def test_a_translator_is_graded_as_by_one_process(cross: str, tmp_path: Path) -> None:
    pairs = tmp_path / "pairs.tsv"
    pairs.write_text(
        "".join(f"here and now number {n}\tnun und hier ist dies Zahl {n}\n" for n in range(60)), encoding="utf-8"
    )
    words = (
        f"task=translation model=hgrn2 layers=2 width=16 task.vocabulary=300 task.held_out=8 task.source={pairs} "
        f"task.cross={cross} training.rows=8 training.steps=60 training.learning_rate=0.01 training.device=cpu "
        "training.validate_every=30 training.evaluation_rows=4"
    ).split()
    by_one(*words, run=tmp_path / "one")
    done(2, *words, FSDP, "run=two", "training.recompute=true", folder=tmp_path)
    one, two = numbers(tmp_path / "one"), numbers(tmp_path / "two")
    assert one[0, "bleu"] > 1
    # float32, sums in another order, sixty steps of AdamW
    assert two == pytest.approx(one, rel=2e-3)


def test_a_run_that_was_not_begun_for_shards_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"training\.strategy=fsdp is there for eos train"):
        train(load_run_recipe([*SMALL, FSDP]), tmp_path / "run")


def on_a_full_disk(folder: Path) -> str:
    """What a process is told where the last one has no space left."""
    rank = dist.get_rank()
    if rank == 1:

        def full(descriptor: int) -> None:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        os.fsync = full
    share = DTensor.from_local(torch.ones(2), init_device_mesh("cpu", (2,)), [Shard(0)])
    try:
        write_shards({"a": share}, folder / "kept", World(rank=rank, size=2, patient=dist.group.WORLD))
    except RunError as error:
        return str(error)
    return ""


def test_all_are_told_of_a_full_disk(tmp_path: Path) -> None:
    said = together(2, partial(on_a_full_disk, tmp_path))
    assert all("the disk is full" in each for each in said), said
    assert not list(tmp_path.iterdir())


def test_tensors_of_another_model_are_refused(world: World, tmp_path: Path) -> None:
    tensors: dict[str, Tensor] = {"a": torch.arange(6.0).view(2, 3), "b": torch.ones(())}
    write_shards(tensors, tmp_path / "kept", world)
    found = {name: torch.zeros_like(tensor) for name, tensor in tensors.items()}
    read_shards(found, tmp_path / "kept", world)
    assert all(torch.equal(found[name], tensor) for name, tensor in tensors.items())
    with pytest.raises(RunError, match="damaged, or of another model"):
        read_shards({"c": torch.zeros(2)}, tmp_path / "kept", world)
    with pytest.raises(RunError, match="damaged, or of another model"):
        read_shards({"a": torch.zeros(3, 3)}, tmp_path / "kept", world)


def held() -> tuple[int, int]:
    """Bytes that a process holds at most, beyond what it is without a model: while the model is built, and while AdamW
    takes a step.
    """
    recipe = load_run_recipe(["model=gla", "layers=12", "width=512", "training.recompute=true"])
    size = dist.get_world_size()
    world = World(rank=dist.get_rank(), size=size, sharded=size > 1)
    with Peak() as peak:
        with first_weights(world):
            model = LanguageModel(recipe.model, 64)
        if world.sharded:
            shard(model, init_device_mesh("cpu", (size,)), world)
        building = peak.bytes
        optimizer = adamw(model, recipe.training)
        for first in (True, False):
            if not first:
                peak.forget()
            model(torch.zeros(1, 16, dtype=torch.long)).sum().backward()
            clip_gradients(model, 1.0)
            optimizer.step()
            optimizer.zero_grad()
    return building, peak.bytes


@pytest.mark.slow
def test_each_holds_its_share(monkeypatch: pytest.MonkeyPatch) -> None:
    # what is freed goes back to the system, and is not kept for later
    monkeypatch.setenv("MALLOC_MMAP_THRESHOLD_", "262144")
    ((built, alone),) = together(1, held)
    shares = {}
    for count in (2, 4):
        found = together(count, held)
        shares[count] = [max(begin for begin, _ in found[1:]) / built, max(step for _, step in found) / alone]
    print(f"\n{built / 2**20:.0f} MiB to build, {alone / 2**20:.0f} MiB a step alone; of each several hold {shares}")  # noqa: T201
    # the first has made the model; the others never hold it
    assert shares[2][0] <= 0.7
    assert shares[4][0] <= 0.45
    assert shares[2][1] <= 0.7
    assert shares[4][1] <= 0.45
