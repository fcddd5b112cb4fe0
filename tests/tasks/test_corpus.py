"""Tokenizers lose nothing, parts are cut where they should be, and stored tokens are whole or made anew."""

import gzip
import resource
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eos.errors import DataError
from eos.tasks.corpus.parts import PARTS, cut, survey
from eos.tasks.corpus.source import Source, open_source
from eos.tasks.corpus.store import TokenWriter, stored
from eos.tasks.corpus.tokenizer import AbstractTokenizer, ByteTokenizer, PairTokenizer, from_json

SAMPLE = "The quick brown fox, naïve 日本語 — and\n\n  some\ttabs. <|endoftext|>\n".encode() * 40


@pytest.fixture(scope="module", params=["bytes", "pairs"])
def tokenizer(request: pytest.FixtureRequest) -> AbstractTokenizer:
    return ByteTokenizer() if request.param == "bytes" else PairTokenizer.train([SAMPLE], vocabulary=300)


def documents_of(*documents: bytes) -> Source:
    return Source(description="a source", read=lambda: iter(documents))


def open_text(source: str | None) -> Source:
    return open_source(source, subset=None, split="train", column="text")


@given(data=st.one_of(st.binary(), st.text().map(str.encode)))
@settings(max_examples=200)
def test_pieces_of_tokens_are_the_bytes(tokenizer: AbstractTokenizer, data: bytes) -> None:
    ids = tokenizer.encode(data)
    assert b"".join(tokenizer.pieces[i] for i in ids) == data
    assert tokenizer.end_of_text not in ids


def test_pairs_are_fewer_than_bytes() -> None:
    pairs = PairTokenizer.train([SAMPLE], vocabulary=300)
    assert pairs.vocabulary == 300
    assert pairs.encode(SAMPLE).size < 0.6 * len(SAMPLE)


def test_a_saved_tokenizer_is_the_same(tokenizer: AbstractTokenizer) -> None:
    again = from_json(tokenizer.to_json(), Path("tokenizer.json"))
    assert again.pieces == tokenizer.pieces
    np.testing.assert_array_equal(again.encode(SAMPLE), tokenizer.encode(SAMPLE))


@pytest.mark.parametrize("text", ["", "{}", "[1]", '{"model": {"type": "WordLevel"}}'])
def test_a_damaged_tokenizer_is_refused(text: str) -> None:
    with pytest.raises(DataError, match=r"broken\.json is not a tokenizer"):
        from_json(text, Path("broken.json"))


@given(documents=st.lists(st.text(min_size=1).map(str.encode), min_size=1), separate=st.booleans())
def test_parts_joined_are_the_text(documents: list[bytes], separate: bool) -> None:
    source = documents_of(*documents)
    pieces = list(cut(source, survey(source), documents=separate))
    assert b"".join(data for _, data in pieces) == b"".join(documents)
    assert [PARTS.index(part) for part, _ in pieces] == sorted(PARTS.index(part) for part, _ in pieces)
    for _, data in pieces:
        data.decode()  # no character is cut


@pytest.mark.parametrize("sizes", [[10_000], [1] * 10_000, [4_000, 6_000], [37] * 400])
@pytest.mark.parametrize("separate", [True, False])
def test_parts_are_85_5_and_10_percent(sizes: list[int], separate: bool) -> None:
    source = documents_of(*(b"x" * size for size in sizes))
    pieces = list(cut(source, survey(source), documents=separate))
    for part, share in zip(PARTS, (0.85, 0.05, 0.10), strict=True):
        assert sum(len(data) for name, data in pieces if name == part) == pytest.approx(share * sum(sizes), rel=0.12)


def test_a_part_ends_at_a_document_near_by() -> None:
    source = documents_of(*([b"x" * 37] * 400))
    assert {len(data) for _, data in cut(source, survey(source), documents=True)} == {37}


def test_the_hash_tells_documents_apart() -> None:
    assert survey(documents_of(b"ab", b"c")).digest != survey(documents_of(b"a", b"bc")).digest


def test_a_source_that_changes_meanwhile_is_refused() -> None:
    found = survey(documents_of(b"a text"))
    with pytest.raises(DataError, match="changed while it was being read"):
        list(cut(documents_of(b"a longer text"), found, documents=True))


def test_files_come_in_one_order_and_packed_ones_unpacked(tmp_path: Path) -> None:
    for name, text in {"b/two.txt": "two", "a.txt": "one", "c.txt": "three", ".hidden": "no", "empty.txt": ""}.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    (tmp_path / "d.txt.gz").write_bytes(gzip.compress(b"four"))
    assert list(open_text(str(tmp_path)).read()) == [b"one", b"two", b"three", b"four"]
    assert list(open_text(f"{tmp_path}/*.txt").read()) == [b"one", b"three"]
    assert list(open_text(f"{tmp_path}/**/t*.txt").read()) == [b"two"]
    assert list(open_text(f"{tmp_path}/d.txt.gz").read()) == [b"four"]


def test_the_embedded_text_is_the_standard_library() -> None:
    source = open_text(None)
    assert "Python 3." in source.description
    texts = list(source.read())
    assert any(b"class OrderedDict" in text for text in texts)
    assert not any(b"import numpy" in text[:1000] for text in texts)


BAD_FILES = {
    "binary.txt": (b"text \0 text", r"binary\.txt is not text: byte 5 is NUL; leave it out"),
    "latin.txt": ("déjà vu".encode("latin-1"), r"latin\.txt is not UTF-8 text: 2 of its 7 bytes .* iconv"),
    "broken.txt.gz": (b"\x1f\x8b nothing", r"cannot read .*broken\.txt\.gz"),
    "half.txt.gz": (gzip.compress(SAMPLE)[:-20], r"cannot read .*half\.txt\.gz"),
    "empty.txt": (b"", r"empty\.txt is empty; name a text"),
}


@pytest.mark.parametrize("name", BAD_FILES)
def test_a_file_that_is_no_text_is_refused(name: str, tmp_path: Path) -> None:
    content, message = BAD_FILES[name]
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=message):
        survey(open_text(str(tmp_path / name)))


def test_a_rare_byte_that_is_not_utf8_is_kept(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(SAMPLE + b"\xff")
    assert survey(open_text(str(tmp_path / "a.txt"))).bytes == len(SAMPLE) + 1


def test_a_source_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no file or folder 'owner/corpus' .* write hf:owner/corpus"):
        open_text("owner/corpus")
    with pytest.raises(DataError, match=r"no file matches .* quote the pattern"):
        open_text(f"{tmp_path}/*.txt")
    with pytest.raises(DataError, match="holds no file"):
        open_text(str(tmp_path))


def test_a_dataset_without_its_package_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(DataError, match=r"needs the package datasets: in the project's folder, .* '\.\[datasets\]'"):
        open_text("hf:owner/corpus")


@pytest.fixture
def dataset(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A dataset of local files, in the form that the hub has them in."""
    datasets = pytest.importorskip("datasets")
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", str(tmp_path / "cache"))
    datasets.disable_progress_bars()
    (tmp_path / "corpus").mkdir()
    (tmp_path / "corpus" / "train.jsonl").write_text(
        '{"text": "one", "year": 1}\n{"text": "", "year": 2}\n{"text": "deux é", "year": 3}\n'
    )
    return f"hf:{tmp_path / 'corpus'}"


def test_rows_of_a_dataset_are_documents(dataset: str) -> None:
    assert list(open_text(dataset).read()) == [b"one", "deux é".encode()]


@pytest.mark.parametrize(
    ("split", "column", "message"),
    [
        ("train", "body", "no column 'body'; name one with task.column: text, year"),
        ("train", "year", "row 0 .* holds int in column 'year', not text"),
        ("dev", "text", "cannot load the dataset .*task.split=dev"),
    ],
)
def test_a_dataset_without_the_text_is_refused(dataset: str, split: str, column: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        list(open_source(dataset, subset=None, split=split, column=column).read())


def fill(writers: dict[str, TokenWriter]) -> None:
    for _ in range(3):
        writers["only"].write(np.arange(1000, dtype=np.uint32))


@pytest.mark.parametrize(("vocabulary", "dtype"), [(2**16, "uint16"), (2**16 + 1, "uint32")])
def test_tokens_take_the_fewest_bytes(tmp_path: Path, vocabulary: int, dtype: str) -> None:
    file = stored(tmp_path / "store", parts=("only",), vocabulary=vocabulary, fill=fill)["only"]
    assert file.dtype == dtype
    np.testing.assert_array_equal(file.open(), np.tile(np.arange(1000), 3))


def refuse(writers: dict[str, TokenWriter]) -> None:
    pytest.fail("made anew what was there")


def flip_a_byte(folder: Path) -> None:
    data = bytearray((folder / "only.bin").read_bytes())
    data[17] ^= 1
    (folder / "only.bin").write_bytes(data)


DAMAGE = {
    "byte": flip_a_byte,
    "short": lambda folder: (folder / "only.bin").write_bytes(b"short"),
    "gone": lambda folder: (folder / "only.bin").unlink(),
    "index": lambda folder: (folder / "index.json").write_text("{"),
    "other index": lambda folder: (folder / "index.json").write_text('{"only": {"path": "only.bin"}}'),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_damaged_tokens_are_made_anew(tmp_path: Path, damage: str, caplog: pytest.LogCaptureFixture) -> None:
    def store(fill_in=fill):
        return stored(tmp_path / "store", parts=("only",), vocabulary=1000, fill=fill_in)["only"]

    store()
    assert store(refuse).is_whole()
    DAMAGE[damage](tmp_path / "store")
    np.testing.assert_array_equal(store().open(), np.tile(np.arange(1000), 3))
    assert "are damaged; making them anew" in caplog.text
    assert store(refuse).is_whole()


def test_what_fails_half_way_leaves_nothing(tmp_path: Path) -> None:
    def stop(writers: dict[str, TokenWriter]) -> None:
        fill(writers)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        stored(tmp_path / "store", parts=("only",), vocabulary=1000, fill=stop)
    assert not list(tmp_path.iterdir())


def test_a_place_that_cannot_be_written_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match=r"cannot write .*; make room there, or name another place \(task\.cache"):
        stored(tmp_path / "file" / "store", parts=("only",), vocabulary=1000, fill=fill)


def test_a_full_disk_is_one_clear_error_and_leaves_nothing(tmp_path: Path) -> None:
    code = (
        "import resource, sys; from pathlib import Path\n"
        "from eos.errors import DataError; from tests.tasks.test_corpus import fill, stored\n"
        f"resource.setrlimit(resource.RLIMIT_FSIZE, (1000, {resource.RLIM_INFINITY}))\n"
        "try: stored(Path(sys.argv[1]), parts=('only',), vocabulary=1000, fill=fill)\n"
        "except DataError as error: print(error)"
    )
    result = subprocess.run(
        [sys.executable, "-c", code, tmp_path / "store"], capture_output=True, text=True, cwd=Path(__file__).parents[2]
    )
    assert result.stdout.startswith(f"cannot write {tmp_path / 'store'}: File too large; make room"), result
    assert not list(tmp_path.iterdir())
