"""Completion: of key=value, of names, and in a real shell."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from eos import registry
from eos.cli.arguments import complete_override

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize(
    ("typed", "found"),
    [
        ("mod", [f"model={name}" for name in sorted(registry.recipes("model"))]),
        ("model=ligh", ["model=lightnet"]),
        ("task=te", ["task=text"]),
        ("expand=o", ["expand=ones"]),
        ("oscillation=head_decay+rot", ["oscillation=head_decay+rotation"]),
        ("model.mixers.main.shrink=lin", ["model.mixers.main.shrink=linear"]),
        ("tie", ["tied=false", "tied=true"]),
        ("norm=r", ["norm=rms"]),
        ("layers=", []),
        ("layers", []),
        ("zzz", []),
        ("s", ["size=", "shrink=", "stages_read=", "skip="]),
    ],
)
def test_a_started_override_is_completed(typed: str, found: list[str]) -> None:
    assert complete_override(typed) == found


@pytest.fixture
def shell_environment(tmp_path: Path) -> dict[str, str]:
    """An environment in which ``eos`` is this checkout's."""
    script = tmp_path / "bin" / "eos"
    script.parent.mkdir()
    script.write_text(f'#!/bin/sh\nexec {sys.executable} -m eos.cli.main "$@"\n')
    script.chmod(0o755)
    return os.environ | {"PATH": f"{script.parent}:{os.environ['PATH']}", "PYTHONPATH": str(ROOT)}


@pytest.mark.parametrize(
    ("words", "replies"),
    [
        (["eos", "descr"], ["describe"]),
        (["eos", "describe", "model", "=", "ligh"], ["lightnet"]),
        (["eos", "describe", "model", "="], sorted(registry.recipes("model"))),
        (["eos", "describe", "model", "=", "hgrn2", "oscillation", "=", "head_decay+rot"], ["head_decay+rotation"]),
        (
            ["eos", "describe", "model", "=", "hgrn2", "expa"],
            [f"expand={name}" for name in sorted(registry.stages("expand"))],
        ),
        (["eos", "list", "stages", "key_g"], ["key_gate"]),
    ],
)
def test_bash_completes_key_and_value(
    tmp_path: Path, shell_environment: dict[str, str], words: list[str], replies: list[str]
) -> None:
    quoted = " ".join(f"'{word}'" for word in words)
    code = f"""
eval "$(eos completion bash)"
COMP_WORDS=({quoted}); COMP_CWORD={len(words) - 1}
_eos_completion eos
printf '%s\\n' "${{COMPREPLY[@]}}"
"""
    line = ["bash", "--norc", "-c", code]
    result = subprocess.run(line, capture_output=True, text=True, env=shell_environment, cwd=tmp_path)
    assert result.stdout.split() == replies, result.stderr


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_script_of_a_shell_is_valid_there(tmp_path: Path, shell_environment: dict[str, str], shell: str) -> None:
    script = subprocess.run(
        ["eos", "completion", shell], capture_output=True, text=True, env=shell_environment, cwd=tmp_path, check=True
    ).stdout
    assert "_EOS_COMPLETE" in script
    if shutil.which(shell) is None:
        pytest.skip(f"{shell} is not installed")
    subprocess.run([shell, "-n"], input=script, text=True, check=True)


def test_fish_completes_key_and_value(tmp_path: Path, shell_environment: dict[str, str]) -> None:
    if shutil.which("fish") is None:
        pytest.skip("fish is not installed")
    code = "eos completion fish | source; complete -C 'eos describe model=ligh'"
    line = ["fish", "--no-config", "-c", code]
    result = subprocess.run(line, capture_output=True, text=True, env=shell_environment, cwd=tmp_path)
    assert result.stdout.split() == ["model=lightnet"], result.stderr


def test_zsh_completes_key_and_value(tmp_path: Path, shell_environment: dict[str, str]) -> None:
    if shutil.which("zsh") is None:
        pytest.skip("zsh is not installed")
    code = """
compdef() { :; }
eval "$(eos completion zsh)"
compadd() { print -l -- ${(P)@[-1]}; }
words=(eos describe model=ligh); CURRENT=3
_eos_completion
"""
    line = ["zsh", "--no-rcs", "-c", code]
    result = subprocess.run(line, capture_output=True, text=True, env=shell_environment, cwd=tmp_path)
    assert result.stdout.split() == ["model=lightnet"], result.stderr
