"""Tasks on pictures: files of every kind, exact tokens, floors held to plain loops, and faults with file and row."""

import gzip
import io
import math
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

from eos.errors import DataError, RecipeError
from eos.tasks.image_generation import ImageGenerationTask
from eos.tasks.images import ImagesTask
from eos.tasks.moving_digits import DIRECTIONS, MovingDigitsTask
from eos.tasks.pictures.arrays import read_idx
from eos.tasks.pictures.patches import moved, nearest_mean, patches, scale_of, whole
from eos.tasks.pictures.sheet import save_picture, sheet
from eos.tasks.task import Batch

DATA = Path(__file__).resolve().parents[3] / "shared" / "data"
#: A statistic of so many standard deviations from its expectation is met once in 15,000 runs; seeds are fixed.
DEVIATIONS = 4.0
Pixels = NDArray[np.uint8]


def pixels(rows: int = 30, *, height: int = 4, width: int = 6, channels: int = 1, seed: int = 0) -> Pixels:
    return np.random.default_rng(seed).integers(256, size=(rows, height, width, channels), dtype=np.uint8)


def idx(array: Pixels) -> bytes:
    return bytes([0, 0, 8, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape) + array.tobytes()


def labels(rows: int = 30, classes: int = 3) -> Pixels:
    return (np.arange(rows) % classes).astype(np.uint8)


def loaded(source: Path | str | None, **chosen: object) -> ImagesTask:
    task = ImagesTask(ImagesTask.Options(source=None if source is None else str(source), **chosen))
    task.load()
    return task


def all_of(task: ImagesTask, part: str) -> tuple[NDArray[np.float32], list[int]]:
    count = len(task.labels(part))  # type: ignore[arg-type]
    batch = task.batch(part, np.arange(count))  # type: ignore[arg-type]
    return batch.inputs.numpy(), batch.targets.tolist()


def write_idx(folder: Path, *, compressed: bool = False) -> None:
    for prefix, rows in (("train", 30), ("t10k", 9)):
        for kind, array in (("images-idx3", pixels(rows, seed=rows)[..., 0]), ("labels-idx1", labels(rows))):
            name = f"{prefix}-{kind}-ubyte"
            if compressed:
                (folder / f"{name}.gz").write_bytes(gzip.compress(idx(array)))
            else:
                (folder / name).write_bytes(idx(array))


def write_npz(folder: Path) -> Path:
    held = {"x_train": pixels(30, seed=30), "y_train": labels(30)[:, None], "x_test": pixels(9, seed=9)}
    np.savez(folder / "all.npz", **held, y_test=labels(9).astype(np.int64))
    return folder / "all.npz"


def write_folder(folder: Path) -> None:
    for part, rows in (("train", 30), ("test", 9)):
        for place, (picture, label) in enumerate(zip(pixels(rows, seed=rows), labels(rows), strict=True)):
            inside = folder / part / f"class_{label}"
            inside.mkdir(parents=True, exist_ok=True)
            Image.fromarray(picture[..., 0]).save(inside / f"{place:03}.png")


def by_class(found: tuple[NDArray[np.float32], list[int]]) -> list[tuple[int, list[float]]]:
    return sorted((label, row.ravel().tolist()) for row, label in zip(*found, strict=True))


def test_the_same_pictures_are_read_from_every_kind_of_file(tmp_path: Path) -> None:
    places = {name: tmp_path / name for name in ("idx", "gz", "folder")}
    for place in places.values():
        place.mkdir()
    write_idx(places["idx"])
    write_idx(places["gz"], compressed=True)
    write_folder(places["folder"])
    cache = str(tmp_path / "cache")
    kinds = [*places.values(), write_npz(tmp_path)]
    for source in kinds:
        task = loaded(source, cache=cache, validation=0.2)
        assert [len(task.labels(part)) for part in ("train", "validation", "test")] == [24, 6, 9]
        assert task.classes == 3
        rows = [row for part in ("train", "validation") for row in by_class(all_of(task, part))]
        mean, deviation = (float(number[0]) for number in vars(task._ready[1]).values())
        got = np.sort(np.array([row for _, row in rows]) * deviation + mean, 0)
        np.testing.assert_allclose(got, np.sort(pixels(30, seed=30).reshape(30, -1), 0), atol=1e-3)
        tested = by_class(all_of(task, "test"))
        want = [(int(label), row.ravel()) for row, label in zip(pixels(9, seed=9), labels(9), strict=True)]
        for (label, row), (other, raw) in zip(
            tested, sorted(want, key=lambda each: (each[0], each[1].tolist())), strict=True
        ):
            assert label == other
            np.testing.assert_allclose(np.array(row) * deviation + mean, raw, atol=1e-3)
    # read again from the cache, where the folder's pictures were decoded to
    assert by_class(all_of(loaded(places["folder"], cache=cache), "test")) != []
    assert len(list((tmp_path / "cache").iterdir())) == 1


def test_a_dataset_is_read_with_its_columns(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    datasets = pytest.importorskip("datasets")
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", str(tmp_path / "cache"))
    datasets.disable_progress_bars()
    kinds = datasets.Features({"picture": datasets.Image(), "what": datasets.ClassLabel(names=["a", "b", "c"])})
    (tmp_path / "set").mkdir()
    for part, rows in (("train", 30), ("test", 9)):
        held = {"picture": [Image.fromarray(one) for one in pixels(rows, channels=3)], "what": labels(rows).tolist()}
        datasets.Dataset.from_dict(held, kinds).to_parquet(tmp_path / "set" / f"{part}-0.parquet")
    source, cache = f"hf:{tmp_path / 'set'}", str(tmp_path / "kept")
    task = loaded(source, cache=cache)
    assert (task.classes, task.features, task.grid) == (3, 3, (4, 6))
    assert all_of(task, "test")[1] == labels(9).tolist()
    assert loaded(source, cache=cache, grey=True).features == 1
    with pytest.raises(DataError, match=r"has no column 'other'; name one with task.label: picture, what"):
        loaded(source, cache=cache, label="other")
    with pytest.raises(DataError, match=r"cannot load the dataset .*nowhere.*name files with task.source=PATH"):
        loaded(f"hf:{tmp_path / 'nowhere'}")


def test_tokens_are_patches_row_by_row() -> None:
    images = pixels(2, channels=3)
    tokens = patches(images, 2)
    assert tokens.shape == (2, 6, 12)
    for place, token in enumerate(tokens[1]):
        down, right = 2 * (place // 3), 2 * (place % 3)
        assert token.tolist() == images[1, down : down + 2, right : right + 2].ravel().tolist()
    np.testing.assert_array_equal(whole(tokens, 2, height=4, width=6), images)
    video = np.stack([images, pixels(2, channels=3, seed=1)], 1)
    np.testing.assert_array_equal(patches(video, 2), np.concatenate([tokens, patches(video[:, 1], 2)], 1))


def test_channels_of_the_training_part_have_mean_0_and_deviation_1(tmp_path: Path) -> None:
    images = pixels(40, channels=3)
    images[..., 1] = images[..., 1] // 4 + 9
    images[..., 2] = 7  # the same everywhere
    scaled = scale_of(images)(images)
    np.testing.assert_allclose(scaled.mean((0, 1, 2)), 0, atol=1e-4)
    np.testing.assert_allclose(scaled.std((0, 1, 2)), [1, 1, 0], atol=1e-4)


def test_forms_of_digits() -> None:
    grid, sequence = loaded(None, patch=2), loaded(None, form="sequence")
    assert (grid.length, grid.grid, grid.features, grid.classes) == (16, (4, 4), 4, 10)
    assert (sequence.length, sequence.grid, sequence.features) == (64, None, 1)
    assert [len(grid.labels(part)) for part in ("train", "validation", "test")] == [1294, 144, 359]
    batch = grid.train_batch(1, 0, 5)
    assert (batch.inputs.shape, batch.shape) == ((5, 16, 4), (4, 4))
    assert sequence.train_batch(1, 0, 5).shape is None


def test_parts_of_digits_share_no_picture() -> None:
    task = loaded(None)
    held = [{row.tobytes() for row in all_of(task, part)[0]} for part in ("train", "validation", "test")]
    assert sum(map(len, held)) == len(set().union(*held)) == 1797


def test_shifts_move_training_pictures_alone() -> None:
    still, shifted = loaded(None), loaded(None, shift=1)
    first, second = (ways_moved(still, shifted, step) for step in (5, 6))
    assert not np.array_equal(first, second)
    assert np.abs(first.sum(0) - 400 / 9).max() <= DEVIATIONS * math.sqrt(400 * 8 / 81)
    for ours, theirs in zip(still.evaluation_batches("test", 50), shifted.evaluation_batches("test", 50), strict=True):
        assert torch.equal(ours.inputs, theirs.inputs)


def ways_moved(still: ImagesTask, shifted: ImagesTask, step: int) -> NDArray[np.float64]:
    """For each of 400 rows, shares of the nine shifts that may have moved it [400,9]."""
    before, after = (task.train_batch(3, step, 400) for task in (still, shifted))
    assert torch.equal(before.targets, after.targets)
    frames = np.pad(whole(before.inputs.numpy(), 1, height=8, width=8)[..., 0], ((0, 0), (1, 1), (1, 1)), mode="edge")
    black = still._ready[1](np.zeros((1, 1), np.uint8)).item()
    frames[:, [0, -1]] = frames[:, :, [0, -1]] = black
    fits = np.array(
        [
            [np.array_equal(frame[d : d + 8, r : r + 8], row) for d in range(3) for r in range(3)]
            for frame, row in zip(frames, after.inputs.numpy().reshape(-1, 8, 8), strict=True)
        ]
    )
    assert fits.any(1).all()
    shares: NDArray[np.float64] = fits / fits.sum(1, keepdims=True)
    return shares


def moving(**chosen: object) -> MovingDigitsTask:
    task = MovingDigitsTask(MovingDigitsTask.Options(train_rows=2000, held_out=160, **chosen))
    task.load()
    return task


def generation(source: Path | None = None, **chosen: object) -> ImageGenerationTask:
    options = ImageGenerationTask.Options(source=None if source is None else str(source), **chosen)
    return ImageGenerationTask(options)


@pytest.fixture
def drawn(tmp_path: Path) -> ImageGenerationTask:
    task = generation()
    task.prepare(tmp_path)
    return task


TASKS: dict[str, Callable[[Path], ImagesTask | MovingDigitsTask | ImageGenerationTask]] = {
    "images": lambda _: loaded(None, shift=1),
    "moving_digits": lambda _: moving(),
    "image_generation": lambda folder: _prepared(folder),
}


def _prepared(folder: Path) -> ImageGenerationTask:
    task = generation()
    task.prepare(folder)
    return task


@pytest.mark.parametrize("name", TASKS)
def test_a_batch_is_a_function_of_seed_and_step(name: str, tmp_path: Path) -> None:
    once, again = TASKS[name](tmp_path), TASKS[name](tmp_path)
    left, right = once.train_batch(5, 7, 16), again.train_batch(5, 7, 16)
    assert torch.equal(left.inputs, right.inputs)
    assert torch.equal(left.targets, right.targets)
    for other in (once.train_batch(5, 8, 16), once.train_batch(6, 7, 16), next(once.evaluation_batches("test", 16))):
        assert not torch.equal(left.inputs, other.inputs)
    wide, narrow = (torch.cat([batch.inputs for batch in once.evaluation_batches("test", rows)]) for rows in (300, 7))
    assert torch.equal(wide, narrow)


def test_a_digit_moves_and_bounces() -> None:
    task = moving(frames=20, speed=2, frame=13, patch=1)
    chosen = np.arange(60)
    videos, classes = task.videos("test", chosen)[..., 0], task.labels("test")[chosen]
    which, starts = task._drawn["test"][1], task._drawn["test"][2]
    digits = task._ready[0].rows["test"].images[..., 0]
    bounced = 0
    for video, label, image, start in zip(videos, classes, digits[which[chosen]], starts[chosen], strict=True):
        place, velocity = start.astype(int), 2 * DIRECTIONS[label]
        for frame in video:
            want = np.zeros((13, 13), np.uint8)
            want[place[0] : place[0] + 8, place[1] : place[1] + 8] = image
            np.testing.assert_array_equal(frame, want)
            for axis in (0, 1):
                place[axis] += velocity[axis]
                if not 0 <= place[axis] <= 5:
                    place[axis] = -place[axis] if place[axis] < 0 else 10 - place[axis]
                    velocity[axis] *= -1
                    bounced += 1
    assert bounced > 60


def test_neither_a_frame_nor_a_digit_tells_the_direction() -> None:
    """Directions, starting places and digits are drawn apart from each other."""
    task = moving()
    classes, which, starts = task._drawn["train"]
    assert (np.bincount(classes, minlength=8) == 250).all()
    assert set(classes[:80]) == set(range(8))  # in no order, for a validation may see the first rows alone
    for number in (which, starts[:, 0], starts[:, 1]):
        for direction in range(8):
            apart = number[classes == direction].mean() - number.mean()
            assert abs(apart) <= DEVIATIONS * number.std() / math.sqrt(250)
    batch = task.train_batch(1, 0, 4)
    assert (batch.inputs.shape, batch.shape, task.length) == ((4, 128, 16), (8, 4, 4), 128)


def test_the_nearest_mean_is_that_of_a_loop() -> None:
    train, test, answers = pixels(50, seed=1), pixels(40, seed=2), labels(40)
    classes = labels(50).astype(np.int64)
    means = [train[classes == label].astype(float).mean(0) for label in range(3)]
    right = [
        int(np.argmin([((row - mean) ** 2).sum() for mean in means])) == label
        for row, label in zip(test.astype(float), answers, strict=True)
    ]
    halves = [(train[:20], classes[:20]), (train[20:], classes[20:])]
    got = nearest_mean(halves, [(test, answers.astype(np.int64))], classes=5)
    assert got == pytest.approx(np.mean(right), abs=1e-12)
    assert 0.1 < got < 0.9


def test_floors_lie_between_chance_and_perfection(drawn: ImageGenerationTask) -> None:
    digits, motion, pictures = loaded(None).standard, moving().standard, drawn.standard
    assert digits.chance < 0.85 < digits.floor < 0.93
    assert motion.chance < motion.floor < 0.8
    assert pictures.chance == math.log2(17)
    assert 2.0 < pictures.floor < 3.0 < pictures.chance


def test_the_floor_of_generation_is_that_of_a_loop(drawn: ImageGenerationTask) -> None:
    train = drawn._values(drawn._images("train"))
    test = next(drawn.evaluation_batches("test", 400)).targets.numpy()
    anywhere = [(int((train == value).sum()) + 1) / (train.size + 17) for value in range(17)]
    assert sum(anywhere) == pytest.approx(1)
    total = 0.0
    for place in range(64):
        counts = np.bincount(train[:, place], minlength=17)
        shares = [(counts[value] + 17 * anywhere[value]) / (len(train) + 17) for value in range(17)]
        assert sum(shares) == pytest.approx(1)
        total -= sum(math.log2(shares[value]) for value in test[:, place])
    assert drawn.standard.floor == pytest.approx(total / test.size, abs=1e-9)


def test_every_value_is_asked_once_from_those_before(drawn: ImageGenerationTask) -> None:
    batch = next(drawn.evaluation_batches("test", 400))
    assert (batch.inputs[:, 0] == 17).all()
    assert torch.equal(batch.inputs[:, 1:], batch.targets[:, :-1])
    assert batch.targets.max() == 16
    assert (drawn.vocabulary, drawn.length, drawn.size) == (18, 64, (8, 8, 1))
    counts = drawn.count(batch)
    assert counts.targets == 359 * 64
    assert drawn.metrics(counts.targets * math.log(2), counts)["bits_per_dim"] == pytest.approx(1)


def test_a_picture_is_what_its_ids_were(tmp_path: Path) -> None:
    colours = pixels(40, channels=3)
    np.savez(tmp_path / "c.npz", x_train=colours)
    task = generation(tmp_path / "c.npz")
    task.prepare(tmp_path)
    (again := generation()).restore(tmp_path)
    assert again.encode("") == [256]
    held = {image.tobytes() for image in colours}
    for ids in next(task.evaluation_batches("test", 8)).targets.numpy():
        assert again.picture(ids).tobytes() in held
    few = generation(tmp_path / "c.npz", levels=4)
    (tmp_path / "few").mkdir()
    with pytest.raises(DataError, match="built for vocabulary = 257, and this task has 5"):
        few.prepare_other(tmp_path)
    few.prepare(tmp_path / "few")
    shown = few.picture(next(few.evaluation_batches("test", 1)).targets[0].numpy())
    assert set(np.unique(shown)) == {0, 85, 170, 255}
    with pytest.raises(DataError, match="takes no prompt in text"):
        few.encode("a")
    with pytest.raises(DataError, match="holds no run on a task of this kind"):
        few.restore(tmp_path / "nowhere")
    np.savez(tmp_path / "c.npz", x_train=colours[::-1])
    with pytest.raises(DataError, match="not those that the run"):
        generation(tmp_path / "c.npz").prepare(tmp_path)


def test_other_pictures_are_scaled_as_those_of_the_run(tmp_path: Path) -> None:
    """The same test pictures make the same tokens, whatever the pictures are that stand beside them."""
    test = {"x_test": pixels(5), "y_test": labels(5)}
    np.savez(tmp_path / "a.npz", x_train=pixels(), y_train=labels(), **test)
    np.savez(tmp_path / "b.npz", x_train=pixels() // 2, y_train=labels(), **test)
    run = loaded(tmp_path / "a.npz")
    run.prepare(tmp_path)
    other = loaded(tmp_path / "b.npz")
    other.prepare_other(tmp_path)
    mine, theirs = (next(task.evaluation_batches("test", 5)).inputs for task in (run, other))
    assert torch.equal(mine, theirs)


def test_a_single_array_is_no_archive(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", pixels())
    (tmp_path / "a.npy").rename(tmp_path / "a.npz")
    with pytest.raises(DataError, match=r"cannot read .*a\.npz as an npz archive"):
        loaded(tmp_path / "a.npz")


def test_a_sheet_shows_every_picture(tmp_path: Path) -> None:
    shown = list(pixels(5))
    paper = sheet(shown)
    assert paper.shape == (2 * 5 + 1, 3 * 7 + 1, 1)
    np.testing.assert_array_equal(paper[6:10, 8:14], shown[4])
    both = sheet(shown, above=list(pixels(5, seed=1)))
    np.testing.assert_array_equal(both[1:5, 1:7], pixels(5, seed=1)[0])
    np.testing.assert_array_equal(both[6:10, 1:7], shown[0])
    save_picture(paper, tmp_path / "a.png")
    with Image.open(tmp_path / "a.png") as read:
        assert read.size == (22 * 29, 11 * 29)
    for wrong, said in ((tmp_path / "a.jpg", "ends in .png"), (tmp_path / "none" / "a.png", "there is no folder")):
        with pytest.raises(DataError, match=said):
            save_picture(paper, wrong)


def test_moving_keeps_what_stays_inside() -> None:
    one = pixels(1, height=2, width=2)
    got = moved(one, np.array([[-1, 1]]), fill=np.array([9], np.uint8), height=3, width=3)[0, ..., 0]
    a, b = one[0, 1, :, 0].tolist()
    assert got.tolist() == [[9, a, b], [9, 9, 9], [9, 9, 9]]


IMAGES, LABELS = "x-images-idx3-ubyte", "x-labels-idx1-ubyte"
GOOD = {IMAGES: idx(pixels()[..., 0]), LABELS: idx(labels())}
FAULTS: dict[str, tuple[dict[str, bytes], str]] = {
    "truncated": ({IMAGES: GOOD[IMAGES][:-30]}, r"truncated or damaged: .* 30 × 4 × 6 = 720 .* ends inside row 29"),
    "too long": ({IMAGES: GOOD[IMAGES] + b"0"}, "= 720 bytes, it has 721"),
    "header": ({IMAGES: GOOD[IMAGES][:9]}, "ends inside its header of 16 bytes"),
    "empty file": ({IMAGES: b""}, "begins with nothing, and must begin with 00 00 08 03"),
    "magic": ({IMAGES: GOOD[LABELS]}, "begins with 00 00 08 01, and must begin with 00 00 08 03"),
    "no pictures": ({IMAGES: idx(pixels(0)[..., 0]), LABELS: idx(labels(0))}, "holds no pictures"),
    "numbers": ({LABELS: idx(labels(29))}, rf"30 pictures and .*{LABELS} labels of the shape \(29,\)"),
    "one class": ({LABELS: idx(labels(30, 1))}, "shows one class only"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_broken_idx_file_is_named(fault: str, tmp_path: Path) -> None:
    files, said = FAULTS[fault]
    for name, data in {**GOOD, **files}.items():
        (tmp_path / name).write_bytes(data)
    with pytest.raises(DataError, match=rf"{tmp_path}.*{said}"):
        loaded(tmp_path / IMAGES)


def test_other_faults_of_idx_files(tmp_path: Path) -> None:
    (tmp_path / IMAGES).write_bytes(GOOD[IMAGES])
    with pytest.raises(DataError, match=f"no labels beside it: there is no file .*{LABELS}"):
        loaded(tmp_path / IMAGES)
    generation(tmp_path / IMAGES).prepare(tmp_path)  # which asks for none
    with pytest.raises(DataError, match=rf"no train-images-idx3-ubyte\(.gz\), and holds {IMAGES}"):
        loaded(tmp_path)
    (tmp_path / LABELS).write_bytes(GOOD[LABELS])
    with pytest.raises(DataError, match=rf"{IMAGES}, row 3: label 2 is not one of 2 classes \(0 to 1\)"):
        loaded(tmp_path / IMAGES, classes=2)
    (tmp_path / "train-images-idx3-ubyte.gz").write_bytes(gzip.compress(GOOD[IMAGES])[:-20])
    with pytest.raises(DataError, match=r"cannot read .*train-images-idx3-ubyte.gz"):
        loaded(tmp_path)
    with pytest.raises(DataError, match="there is no file or folder"):
        loaded(tmp_path / "nowhere")
    with pytest.raises(DataError, match=r"share of 0.01 of 24 pictures is 0.*change task.validation"):
        loaded(tmp_path / IMAGES, validation=0.01)


def broken_png() -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels(1, height=40, width=40)[0, ..., 0]).save(buffer, "png")
    return buffer.getvalue()[:400]


def test_a_broken_image_of_a_folder_is_named(tmp_path: Path) -> None:
    cache = str(tmp_path / "cache")
    root = tmp_path / "pictures"
    write_folder(root)
    odd = root / "train" / "class_1" / "zz.png"

    def refused(said: str) -> None:
        with pytest.raises(DataError, match=said):
            loaded(root, cache=cache)

    Image.fromarray(pixels(1, height=5)[0, ..., 0]).save(odd)
    refused(r"class_1/zz.png is 5 pixels high and 6 wide, and .*000.png is 4 and 6")
    odd.write_bytes(b"no image")
    refused(r"cannot read the image .*class_1/zz.png")
    odd.write_bytes(broken_png())
    refused(r"cannot read the image .*class_1/zz.png")
    Image.fromarray(pixels(1)[0, ..., 0].astype(np.uint16) * 200).save(odd)
    refused(r"zz.png has pixels of the mode I;16; save it as 8-bit")
    odd.unlink()
    (root / "train" / "class_3").mkdir()
    refused(r"train/class_3 holds no images \(.*.png")
    (root / "train" / "class_3").rmdir()
    (root / "test" / "other").mkdir()
    refused(r"test/other is of a class that .*train lacks")
    (root / "test" / "other").rmdir()
    Image.fromarray(pixels(1, channels=3)[0]).save(odd)  # a coloured one among grey ones makes all coloured
    refused(r"\(test\) holds pictures of 4 × 6 × 1, and .*\(train\) of 4 × 6 × 3")
    assert loaded(root, cache=cache, grey=True).features == 1


@pytest.mark.parametrize(
    ("arrays", "said"),
    [
        ({"x": pixels()}, "has no array x_train; it holds none of those looked for"),
        ({"x_train": pixels()}, "has no array y_train; it holds x_train"),
        ({"x_train": pixels() / 255, "y_train": labels()}, "x_train: pixels must be uint8 from 0 to 255, got float64"),
        ({"x_train": pixels(), "y_train": labels() / 2}, "y_train: labels must be integers, got float64"),
        ({"x_train": pixels(channels=2), "y_train": labels()}, r"must hold pictures .* got the shape \(30, 4, 6, 2\)"),
        (
            {"x_train": pixels(), "y_train": labels().astype(np.int64) - 1},
            r"a.npz \(train\), row 1: label -1 is not one of 2 classes",
        ),
        (
            {"x_train": pixels(), "y_train": labels(), "x_test": pixels(5), "y_test": labels(5) + 2},
            r"a.npz \(test\), row 2: label 3 is not one of 3 classes",
        ),
        (
            {"x_train": pixels(), "y_train": labels(), "x_test": pixels(5, height=5), "y_test": labels(5)},
            r"\(test\) holds pictures of 5 × 6 × 1, and .*\(train\) of 4 × 6 × 1",
        ),
    ],
)
def test_a_broken_archive_is_named(arrays: dict[str, NDArray[np.generic]], said: str, tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", **arrays)
    with pytest.raises(DataError, match=said):
        loaded(tmp_path / "a.npz")
    (tmp_path / "b.npz").write_bytes((tmp_path / "a.npz").read_bytes()[:200])
    with pytest.raises(DataError, match=r"cannot read .*b.npz as an npz archive of numbers"):
        loaded(tmp_path / "b.npz")


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: loaded(None, patch=3), "task.patch = 3 must divide the height and width of the pictures, 8 × 8"),
        (lambda: moving(patch=5), "task.patch = 5 must divide"),
        (lambda: moving(frame=9, patch=1), "leaves no room to move by 1: .* must be at least 10"),
        (lambda: generation(levels=18).prepare(Path()), "task.levels = 18 are more than the 17"),
    ],
)
def test_impossible_options_are_refused(make: Callable[[], object], said: str) -> None:
    with pytest.raises(RecipeError, match=said):
        make()


def real(name: str) -> Path:
    if not (DATA / name).exists():
        pytest.skip(f"{name} is not in shared/data")
    return DATA / name


def test_real_digits_and_photographs() -> None:
    digits = loaded(real("mnist_t10k-images-idx3-ubyte.gz"), patch=4, test=0.15)
    assert [len(digits.labels(part)) for part in ("train", "validation", "test")] == [7650, 850, 1500]
    assert (digits.classes, digits.grid) == (10, (7, 7))
    assert 0.75 < digits.standard.floor < 0.87
    photographs = loaded(real("cifar10_small_u8.npz"), patch=4)
    assert (photographs.features, photographs.length) == (48, 64)
    assert np.bincount(photographs.labels("test")).tolist() == [100] * 10
    assert 0.2 < photographs.standard.floor < 0.35


def test_a_real_file_is_read_as_it_is() -> None:
    found = read_idx(real("mnist_t10k-labels-idx1-ubyte.gz"), axes=1)
    assert found[:10].tolist() == [7, 2, 1, 0, 4, 1, 4, 9, 5, 9]


def test_batches_hold_rows_apart() -> None:
    batch = loaded(None).train_batch(1, 0, 6)
    assert isinstance(batch, Batch)
    assert torch.equal(batch.rows(slice(2, 4)).inputs, batch.inputs[2:4])
