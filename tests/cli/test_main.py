"""What all sub-commands share: help that teaches, an answer at once, errors in one line, exit statuses."""

import os
import re
import resource
import shlex
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import pytest

from eos.cli.main import group
from eos.cli.recipes import load_run_recipe
from eos.compose import load_model_recipe, refuse

Run = Callable[..., Any]

COMMANDS = group.list_commands(click.Context(group))


def help_of(name: str) -> str:
    command = group.get_command(click.Context(group), name)
    assert command is not None
    return command.get_help(click.Context(command, info_name=name))


def examples() -> list[str]:
    """Every line of any help that is a command to type."""
    texts = [group.get_help(click.Context(group)), *map(help_of, COMMANDS)]
    return [line.strip() for text in texts for line in text.splitlines() if line.strip().startswith("eos ")]


def test_help_teaches_the_three_stages_and_shows_five_commands(eos: Run) -> None:
    shown = eos("--help")
    assert shown.status == 0
    for word in ("expand", "oscillation", "shrink", "m_t = ψ(o_t, m_{t-1}) + e_t i_tᵀ"):
        assert word in shown.out
    assert shown.out.count("\n    eos ") >= 5
    for name in COMMANDS:
        assert re.search(rf"^  {name} +\S", shown.out, re.MULTILINE), f"{name} has no summary"


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_a_help_with_its_options_and_plugins(name: str) -> None:
    shown = help_of(name)
    assert "--plugins DIR" in shown
    assert "--help" in shown


@pytest.mark.parametrize("line", examples())
def test_every_example_of_the_help_composes(line: str) -> None:
    command, *arguments = shlex.split(line.partition("   ")[0])[1:]
    assert command in COMMANDS
    overrides = [
        text for text in arguments if "=" in text and text.partition("=")[0] not in ("run", "resume", "seeds", "part")
    ]
    if command == "train" and overrides:
        assert refuse(load_run_recipe(overrides).model) is None
    if command == "describe":
        name = overrides[0].removeprefix("model=")
        assert refuse(load_model_recipe(name, overrides[1:])) is None


@pytest.mark.parametrize(
    "arguments",
    [["--help"], ["list", "models"], ["list", "stages"], ["list", "tasks"], ["completion", "bash"]]
    + [[name, "--help"] for name in COMMANDS],
)
def test_help_and_lists_answer_without_torch(fresh_eos: Run, arguments: list[str]) -> None:
    shown = fresh_eos(*arguments, after="sys.exit(77 if 'torch' in sys.modules or 'hydra' in sys.modules else status)")
    assert shown.status == 0, shown.err
    assert shown.out


@pytest.mark.parametrize("arguments", [["--help"], ["list", "stages"], ["list", "models"]])
def test_help_and_lists_answer_within_a_second(fresh_eos: Run, arguments: list[str]) -> None:
    def seconds() -> float:
        """Of the process itself, so that a busy machine changes nothing."""
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        assert fresh_eos(*arguments).status == 0
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime

    assert min(seconds() for _ in range(3)) < 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["lst"], r"unknown command 'lst'\. Did you mean 'list'"),
        (["list", "stage"], "'stage' is not one of"),
        (["list", "stages", "elo"], r"eos: error: unknown stage 'elo'\. Did you mean 'elu'"),
        (["list", "models", "lightnot"], r"eos: error: unknown model recipe 'lightnot'\. Did you mean 'lightnet'"),
        (["--plugins", "/nowhere", "list", "models"], "plugin folder /nowhere must hold stages/ or recipes/"),
        (["describe"], "say one model, as model=NAME"),
        (["describe", "model=hgrn2", "hed=3"], r"override 'hed=3': unknown key 'hed'"),
        (["describe", "model=hgrn2", "heads=3"], "3 heads do not divide"),
    ],
)
def test_what_a_user_can_mend_is_one_line_and_status_2(eos: Run, arguments: list[str], message: str) -> None:
    shown = eos(*arguments)
    assert shown.status == 2
    assert re.search(message, shown.err)
    assert "Traceback" not in shown.err
    assert len([line for line in shown.err.splitlines() if "rror: " in line]) == 1
    assert shown.out == ""


def test_debug_shows_where_an_error_arose(eos: Run) -> None:
    shown = eos("--debug", "list", "stages", "elo")
    assert shown.status == 2
    assert "Traceback" in shown.err
    assert "eos: error: unknown stage 'elo'" in shown.err


def test_a_full_disk_is_one_line(
    eos: Run, plugins: Callable[[str, str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device", "/full")

    monkeypatch.setattr("eos.registry.use_plugins", full)
    shown = eos("--plugins", str(plugins("recipes/model/mine.yaml", "")), "list", "models")
    assert shown.status == 2
    assert shown.err == "eos: error: [Errno 28] No space left on device: '/full'\n"


def test_plugins_are_taken_before_and_after_the_command(eos: Run, plugins: Callable[[str, str], Path]) -> None:
    folder = str(plugins("recipes/model/mine.yaml", "# My own model.\nlayers: 1"))
    for arguments in (["--plugins", folder, "list", "models"], ["list", "models", "--plugins", folder]):
        shown = eos(*arguments)
        assert shown.status == 0, shown.err
        assert "My own model" in shown.out


def test_a_command_of_another_package_is_found_by_its_entry_point(tmp_path: Path) -> None:
    (tmp_path / "garden.py").write_text(
        '"""Grow a rose."""\nimport click\n\n@click.command()\ndef rose():\n    click.echo("rose")\n'
    )
    info = tmp_path / "garden-1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: garden\nVersion: 1\n")
    (info / "entry_points.txt").write_text("[eos.commands]\nrose = garden:rose\n")
    root = Path(__file__).resolve().parents[2]
    environment = os.environ | {"PYTHONPATH": f"{tmp_path}{os.pathsep}{root}"}

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        line = [sys.executable, "-m", "eos.cli.main", *arguments]
        return subprocess.run(line, capture_output=True, text=True, env=environment, cwd=tmp_path)

    assert re.search(r"rose +Grow a rose\.", run("--help").stdout)
    assert run("rose").stdout == "rose\n"
    (info / "entry_points.txt").write_text("[eos.commands]\nlist = garden:rose\n")
    assert "command 'list' stands twice" in run("--help").stderr


def test_an_interrupt_ends_with_130(tmp_path: Path) -> None:
    code = """
import click, signal, os
from eos.cli.main import group, main
@group.command("wait")
def wait():
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a background job begins with SIGINT ignored
    os.kill(os.getpid(), signal.SIGINT)
group.get_command = lambda ctx, name: wait
group.list_commands = lambda ctx: ["wait"]
raise SystemExit(main(["wait"]))
"""
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert result.returncode == 128 + signal.SIGINT, result.stderr
    assert "Traceback" not in result.stderr


def test_a_closed_pipe_is_no_error() -> None:
    line = f"{shlex.quote(sys.executable)} -m eos.cli.main list stages | true"
    result = subprocess.run(["bash", "-c", line], capture_output=True, text=True)
    assert "Traceback" not in result.stderr
