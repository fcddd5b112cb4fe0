"""What the page is told of folders of runs: cells, levels, states, and whatever is damaged."""

import json
import os
import time
from pathlib import Path
from typing import Any

import pytest

from eos.dashboard.gather import Reader
from eos.dashboard.page import embedded
from eos.dashboard.write import write_page
from eos.errors import DataError
from tests.dashboard.folders import write_run

HOSTILE = "</script><script>window.p=1</script><img src=x onerror=alert(1)><!-- \u2028"


def told(*roots: Path) -> dict[str, Any]:
    return Reader(roots, command="eos report").gather().data


def cell(data: dict[str, Any], run: str) -> dict[str, Any]:
    (found,) = [each for each in data["runs"] if Path(each["path"]).name == run or each["name"] == run]
    return dict(data["cells"][found["cell"]])


def test_seeds_share_a_cell_and_nothing_else_does(tmp_path: Path) -> None:
    for seed in (1, 2, 3):
        write_run(tmp_path / "a" / f"seed-{seed}", seed=seed)
    write_run(tmp_path / "b", "learning_rate=0.01")
    write_run(tmp_path / "c", "steps=80")
    write_run(tmp_path / "d", digest="ffff")
    write_run(tmp_path / "e", version="0.2.0")
    write_run(tmp_path / "f", "precision=bfloat16")
    write_run(tmp_path / "g", "device=auto", "workers=2", "sample=0", "data_seed=7", seed=4)
    data = told(tmp_path)
    held: dict[int, list[str]] = {}
    for run in data["runs"]:
        held.setdefault(run["cell"], []).append(Path(run["path"]).name)
    assert sorted(map(sorted, held.values())) == [
        ["b"],
        ["c"],
        ["d"],
        ["e"],
        ["f"],
        ["g", "seed-1", "seed-2", "seed-3"],
    ]
    assert len({(each["budget"], each["name"]) for each in data["cells"]}) == 6
    assert cell(data, "b")["name"] == "gla · learning_rate=0.01 · precision=float32"
    (unlike,) = [warning for warning in data["warnings"] if "not averaged together" in warning["text"]]
    assert "different data and version" in unlike["text"]
    assert sorted(unlike["cells"]) == sorted({cell(data, name)["id"] for name in ("d", "e", "g")})


def test_levels_and_contexts_tell_which_cells_differ_in_one_stage_alone(tmp_path: Path) -> None:
    write_run(tmp_path / "base")
    write_run(tmp_path / "expand", "expand=elu")
    write_run(tmp_path / "option", "expand.activation=silu")
    write_run(tmp_path / "both", "expand=elu", "oscillation=none")
    write_run(tmp_path / "product", "oscillation=head_decay+rotation")
    write_run(tmp_path / "softmax", model="llama")
    data = told(tmp_path)
    contexts = {name: cell(data, name)["contexts"] for name in ("base", "expand", "option", "both", "product")}
    assert contexts["base"]["expand"] == contexts["expand"]["expand"] == contexts["option"]["expand"]
    assert contexts["base"]["expand"] != contexts["both"]["expand"]
    assert contexts["expand"]["oscillation"] == contexts["both"]["oscillation"]
    assert contexts["base"]["oscillation"] == contexts["product"]["oscillation"] != contexts["both"]["oscillation"]
    assert cell(data, "softmax")["levels"] is None
    labels = [level["label"] for level in data["levels"]["expand"]]
    assert len(set(labels)) == len(labels) == 3
    assert any("silu" in label for label in labels)
    assert [level["name"] for level in data["levels"]["oscillation"]] == ["key_gate", "none", "head_decay+rotation"]
    assert cell(data, "expand")["name"].startswith("gla · expand=elu")


def test_every_way_to_end_is_told_with_its_reason(tmp_path: Path) -> None:
    write_run(tmp_path / "ok")
    write_run(tmp_path / "running", status="running")
    write_run(tmp_path / "killed", status="running")
    for name in ("recipe.yaml", "metrics.csv"):
        os.utime(tmp_path / "killed" / name, (time.time() - 7200,) * 2)
    write_run(tmp_path / "stopped", status="stopped")
    write_run(tmp_path / "failed", status="failed", error="the disk is full")
    write_run(tmp_path / "diverged", status="failed", error="step 3: the loss is not finite")
    write_run(tmp_path / "pruned", status="abandoned", error="given up after 20 steps")
    runs = {Path(run["path"]).name: run for run in told(tmp_path)["runs"]}
    states = {name: run["status"] for name, run in runs.items()}
    assert states.pop("killed") == "stopped"
    assert states == {name: name for name in ("ok", "running", "stopped", "failed", "diverged", "pruned")}
    assert "nothing was written for 2:00" in runs["killed"]["reason"]
    assert runs["failed"]["reason"] == "the disk is full"
    assert runs["running"]["metrics"] == {"validation/accuracy": 0.5}


def test_numbers_that_are_none_are_told_from_zero(tmp_path: Path) -> None:
    write_run(tmp_path / "zero", accuracy=0.0)
    write_run(tmp_path / "nan", accuracy=None)
    write_run(tmp_path / "curve", values=[3.0, float("nan"), float("inf"), 1.0])
    data = told(tmp_path)
    runs = {Path(run["path"]).name: run for run in data["runs"]}
    assert runs["zero"]["metrics"]["test/accuracy"] == 0.0
    assert runs["nan"]["metrics"]["test/accuracy"] is None
    assert runs["nan"]["nonfinite"] == {"test/accuracy": "not finite"}
    (spoiled,) = [curve for curve in data["curves"] if curve.get("run") == runs["curve"]["id"] and curve["gaps"]]
    assert spoiled["gaps"] == [[20, 20], [30, 30]]
    json.dumps(data, allow_nan=False)


@pytest.mark.parametrize(
    ("name", "content", "seen"),
    [
        ("result.json", '{"status": "fini', "result.json cannot be read"),
        ("result.json", "[]", "result.json is not what a run writes"),
        ("run.json", b"\xff\xfe", "run.json cannot be read"),
        ("metrics.csv", "step,seconds,metric,value\n1,2\n", "1 lines of metrics.csv are damaged"),
        ("learned.json", "{}", "learned.json cannot be read"),
        ("learned.json", '{"mixers": {}, "memory": [{"layer": "x"}], "samples": [1]}', "learned.json cannot be read"),
        ("task.json", "null", "task.json is not what a run writes"),
    ],
)
def test_a_damaged_file_spoils_a_run_alone_and_is_named(
    tmp_path: Path, name: str, content: str | bytes, seen: str
) -> None:
    write_run(tmp_path / "whole", seed=1)
    write_run(tmp_path / "hurt", seed=2)
    (tmp_path / "hurt" / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    data = told(tmp_path)
    runs = {Path(run["path"]).name: run for run in data["runs"]}
    assert any(seen in warning for warning in runs["hurt"]["warnings"])
    assert runs["whole"]["warnings"] == []
    assert runs["whole"]["metrics"] == {"test/accuracy": 0.5}


DEEP = "[" * 100_000
HUGE = '{"status": "finished", "wall_seconds": Infinity, "metrics": {"test": {"accuracy": 1' + "0" * 400 + "}}}"


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("result.json", '{"status": "finished", "wall_seconds": NaN}'),
        ("result.json", HUGE),
        ("result.json", DEEP),
        ("run.json", '{"starts": [{"time": NaN, "versions": {"torch": NaN}, "command": ["eos", NaN]}]}'),
        ("metrics.csv", "step,seconds,metric,value\n1,0.5,train/tokens_per_second,nan\n"),
        ("metrics.csv", "step,seconds,metric,value\n99999999999999999999,0.5,train/loss,1\n2,1,train/loss,2\n"),
        ("learned.json", DEEP),
        ("recipe.yaml", "model: " + DEEP),
        ("study.json", "{}"),
        ("study.json", "[]"),
        ("study.json", DEEP),
    ],
    ids=lambda value: value[:40] if isinstance(value, str) else None,
)
def test_no_damage_keeps_the_others_from_the_page(tmp_path: Path, name: str, content: str) -> None:
    write_run(tmp_path / "whole", seed=1)
    write_run(tmp_path / "hurt", "learning_rate=0.01", seed=2)
    (tmp_path / "hurt" / name).write_text(content)
    found = Reader([tmp_path], command="eos report").gather()
    write_page(found, tmp_path / "page.html")
    assert any(run["metrics"] == {"test/accuracy": 0.5} for run in found.data["runs"])
    told_of = [run["path"] for run in found.data["runs"]] + [each["path"] for each in found.data["unreadable"]]
    assert str(tmp_path / "hurt") in told_of
    text = json.dumps(found.data, allow_nan=False)
    assert "hurt" in text


def test_a_log_that_is_a_folder_is_told(tmp_path: Path) -> None:
    write_run(tmp_path / "hurt")
    (tmp_path / "hurt" / "metrics.csv").unlink()
    (tmp_path / "hurt" / "metrics.csv").mkdir()
    found = Reader([tmp_path], command="eos report").gather()
    write_page(found, tmp_path / "page.html")
    assert "metrics.csv cannot be read" in found.data["runs"][0]["warnings"][0]


def test_folders_that_may_not_be_read_are_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As another user's are; whoever runs this test may read all."""
    write_run(tmp_path / "whole")
    write_run(tmp_path / "closed")
    scandir = os.scandir

    def refuse(path: Path) -> Any:
        if Path(path).name == "closed":
            raise PermissionError(13, "Permission denied")
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)
    data = told(tmp_path)
    assert [Path(run["path"]).name for run in data["runs"]] == ["whole"]
    assert data["unreadable"] == [{"path": str(tmp_path / "closed"), "error": "Permission denied"}]


def test_half_a_result_is_no_running_run(tmp_path: Path) -> None:
    write_run(tmp_path / "hurt")
    (tmp_path / "hurt" / "result.json").write_text('{"status": "fini')
    data = told(tmp_path)
    assert (data["runs"][0]["status"], data["runs"][0]["reason"]) == (
        "failed",
        "result.json is damaged: how the run ended is not known",
    )
    assert any("result.json cannot be read" in warning["text"] for warning in data["warnings"])


def test_metrics_that_are_no_numbers_are_warned_of(tmp_path: Path) -> None:
    write_run(tmp_path / "nan", accuracy=None)
    (warning,) = told(tmp_path)["warnings"]
    assert warning["text"].endswith("nan: test/accuracy not finite, and in no mean")


def test_a_command_can_be_pasted(tmp_path: Path) -> None:
    run = write_run(tmp_path / "odd")
    record = {"starts": [{"command": ["eos", "train", "run=q/my run; touch pwned #"]}]}
    (run / "run.json").write_text(json.dumps(record))
    (shown,) = told(tmp_path)["runs"]
    assert shown["command"] == "eos train 'run=q/my run; touch pwned #'"


def test_a_seed_counts_once_in_a_band(tmp_path: Path) -> None:
    for name, seed, low in (("a", 1, 1.0), ("b", 1, 1.0), ("c", 2, 3.0)):
        write_run(tmp_path / name, seed=seed, values=[low + 2, low])
    (mean,) = [curve for curve in told(tmp_path)["curves"] if "cell" in curve and curve["tag"].startswith("train")]
    assert mean["n"] == [[10, 2]]


def test_names_leave_the_budget_to_the_menu(tmp_path: Path) -> None:
    write_run(tmp_path / "short")
    write_run(tmp_path / "long", "steps=80")
    data = told(tmp_path)
    assert [each["name"] for each in data["cells"]] == ["gla", "gla"]
    assert len({each["budget"] for each in data["cells"]}) == 2
    assert len({each["key"] for each in data["cells"]}) == 2


@pytest.mark.parametrize(
    ("key", "value"),
    [("steps", "many"), ("tokens", [1]), ("wall_seconds", "long"), ("standard", 3), ("metrics", []), ("device", {}),
     ("parameters", True)],
)  # fmt: skip
def test_a_value_of_another_kind_spoils_itself_alone(tmp_path: Path, key: str, value: Any) -> None:
    write_run(tmp_path / "hurt")
    result = json.loads((tmp_path / "hurt" / "result.json").read_text())
    (tmp_path / "hurt" / "result.json").write_text(json.dumps({**result, key: value}))
    (run,) = told(tmp_path)["runs"]
    assert run["warnings"] == [f"{key} of result.json is not what a run writes"]
    assert run["status"] == "ok"


def test_without_a_digest_other_places_are_other_data(tmp_path: Path) -> None:
    for name, digest in (("a", ""), ("b", ""), ("c", "same"), ("d", "same")):
        write_run(tmp_path / name, digest=digest)
        recipe = tmp_path / name / "recipe.yaml"
        recipe.write_text(recipe.read_text().replace("task:\n", f"task:\n  source: /data/{name}\n"))
    data = told(tmp_path)
    cells = {Path(run["path"]).name: run["cell"] for run in data["runs"]}
    assert cells["a"] != cells["b"]
    assert cells["c"] == cells["d"]


@pytest.mark.parametrize("content", ["", "model: {}", "model: !!python/object:os.system {}", "{", "a: 1\na: 2"])
def test_a_recipe_that_cannot_be_read_is_listed(tmp_path: Path, content: str) -> None:
    write_run(tmp_path / "hurt")
    (tmp_path / "hurt" / "recipe.yaml").write_text(content)
    data = told(tmp_path)
    assert data["runs"] == data["cells"] == []
    (listed,) = data["unreadable"]
    assert listed["path"] == str(tmp_path / "hurt")
    assert listed["error"]


def test_a_run_of_an_older_version_lacks_what_it_did_not_know(tmp_path: Path) -> None:
    write_run(tmp_path / "old")
    (tmp_path / "old" / "result.json").write_text('{"status": "finished", "metrics": {"test": {"accuracy": 0.25}}}')
    for name in ("run.json", "task.json"):
        (tmp_path / "old" / name).unlink()
    data = told(tmp_path)
    (run,) = data["runs"]
    assert (run["status"], run["metrics"]) == ("ok", {"test/accuracy": 0.25})
    assert data["tasks"]["overwriting"]["metric"] == "test/accuracy"


def test_a_seed_that_was_run_twice_is_warned_of(tmp_path: Path) -> None:
    write_run(tmp_path / "a")
    write_run(tmp_path / "b", commit="decaf")
    texts = [warning["text"] for warning in told(tmp_path)["warnings"]]
    assert any(text.startswith("seed 1 was run 2 times") for text in texts)
    assert any("2 commits: c0ffee, decaf" in text for text in texts)


def test_links_in_circles_and_folders_named_twice_give_each_run_once(tmp_path: Path) -> None:
    write_run(tmp_path / "runs" / "a")
    (tmp_path / "runs" / "again").symlink_to(tmp_path / "runs")
    assert len(told(tmp_path, tmp_path / "runs", tmp_path / "runs" / "a")["runs"]) == 1


def test_a_root_that_is_no_folder_is_refused(tmp_path: Path) -> None:
    assert told(tmp_path)["runs"] == []
    with pytest.raises(DataError, match="missing is no folder: name folders that hold runs"):
        told(tmp_path / "missing")


def test_the_same_folders_give_the_same_data(tmp_path: Path) -> None:
    for seed in (2, 1):
        write_run(tmp_path / f"seed-{seed}", seed=seed)
    first, second = (Reader([tmp_path], command="eos report").gather() for _ in range(2))
    assert {**first.data, "made": ""} == {**second.data, "made": ""}
    assert first.curves == second.curves


def test_what_was_read_is_read_again_only_where_it_changed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from eos.dashboard import gather

    write_run(tmp_path / "a")
    write_run(tmp_path / "b", seed=2, status="running")
    read = []
    whole = gather.read_run
    monkeypatch.setattr(gather, "read_run", lambda path: read.append(path.name) or whole(path))
    reader = Reader([tmp_path], command="eos dashboard")
    first = reader.gather()
    assert reader.gather() is first
    with (tmp_path / "b" / "metrics.csv").open("a") as file:
        file.write("50,5.0,train/nats_per_answer,1.0\n")
    data = reader.gather().data
    assert sorted(read) == ["a", "b", "b"]
    assert {run["step"] for run in data["runs"]} == {40, 50}


def test_combinations_that_the_design_refuses_are_told_with_the_reason(tmp_path: Path) -> None:
    write_run(tmp_path / "a", "oscillation=value_gate")
    write_run(tmp_path / "b", "expand=elu", "oscillation=delta")
    write_run(tmp_path / "c", "oscillation=value_gate+head_decay")
    data = told(tmp_path)
    assert data["refused"] == []
    write_run(tmp_path / "d", "expand=channel", "oscillation=key_gate")
    data = told(tmp_path)
    names = {slot: [level["name"] for level in levels] for slot, levels in data["levels"].items()}
    refused = [(names["expand"][each["expand"]], names["oscillation"][each["oscillation"]]) for each in data["refused"]]
    assert ("channel", "delta") in refused
    assert all(each["reason"] for each in data["refused"])


def test_recall_is_a_map_of_means_over_seeds(tmp_path: Path) -> None:
    for seed, value in ((1, 1.0), (2, 0.5)):
        found = {"accuracy_64x4": value, "accuracy_64x8": 0.25, "accuracy_128x4": value, "accuracy_32_depth_50": 1.0}
        write_run(tmp_path / f"seed-{seed}", seed=seed, metrics=found)
    pairs, depth = sorted(told(tmp_path)["recall"], key=lambda each: each["kind"], reverse=True)
    assert (pairs["rows"], pairs["columns"], pairs["n"]) == ([64, 128], [4, 8], 2)
    assert pairs["values"] == [[0.75, 0.25], [0.75, None]]
    assert (depth["kind"], depth["rows"], depth["columns"], depth["values"]) == ("depth", [32], [50], [[1.0]])


def test_hostile_names_stay_text(tmp_path: Path) -> None:
    write_run(tmp_path / "runs", status="failed", error=HOSTILE)
    recipe = (tmp_path / "runs" / "recipe.yaml").read_text().replace("model: gla", f"model: {json.dumps(HOSTILE)}")
    (tmp_path / "runs" / "recipe.yaml").write_text(recipe)
    text = embedded(told(tmp_path))
    assert "<" not in text
    assert json.loads(text)["cells"][0]["model"] == HOSTILE
