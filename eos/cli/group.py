"""A group whose sub-commands are found by file name and entry point, and imported when they are called."""

import ast
from functools import cached_property
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from importlib.util import find_spec
from pathlib import Path

import click

from eos import registry
from eos.errors import unknown
from eos.registry import RegistryError


def plugins_option() -> click.Option:
    """``--plugins DIR``, taken before and after the name of a sub-command."""

    def use(ctx: click.Context, param: click.Parameter, folders: tuple[Path, ...]) -> None:
        for folder in folders:
            registry.use_plugins(folder)

    return click.Option(
        ["--plugins"],
        metavar="DIR",
        type=click.Path(path_type=Path, file_okay=False),
        multiple=True,
        expose_value=False,
        is_eager=True,
        callback=use,
        help="A folder with stages/ and recipes/ of your own; may be given several times.",
    )


class CommandGroup(click.Group):
    """Sub-commands are the modules beside this file that define ``command``, and the entry points ``eos.commands``.

    Listing them reads their files without importing them.
    """

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted({*self._files, *self._points})

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name in self._files:
            command = import_module(f"eos.cli.{cmd_name}").command
        elif cmd_name in self._points:
            command = self._points[cmd_name].load()
        else:
            return None
        return _with_plugins(command)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args[0] not in self.list_commands(ctx) and not ctx.resilient_parsing:
            ctx.fail(unknown("command", args[0], self.list_commands(ctx)))
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        summaries = {name: _summary(tree) for name, tree in self._files.items()}
        summaries |= {name: _summary(_tree(_origin(point))) for name, point in self._points.items()}
        with formatter.section("Commands"):
            formatter.write_dl(sorted(summaries.items()))

    @cached_property
    def _files(self) -> dict[str, ast.Module]:
        trees = {path.stem: _tree(path) for path in Path(__file__).parent.glob("[!_]*.py")}
        return {name: tree for name, tree in trees.items() if _defines_command(tree)}

    @cached_property
    def _points(self) -> dict[str, EntryPoint]:
        points = {point.name: point for point in entry_points(group="eos.commands")}
        for name in points.keys() & self._files.keys():
            raise RegistryError(
                f"command {name!r} stands twice: in eos/cli and as {points[name].value} of eos.commands"
            )
        return points


def _with_plugins(command: click.Command) -> click.Command:
    if not any("--plugins" in parameter.opts for parameter in command.params):
        command.params.append(plugins_option())
    return command


def _defines_command(tree: ast.Module) -> bool:
    return any(isinstance(node, ast.FunctionDef) and node.name == "command" for node in tree.body)


def _tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def _summary(tree: ast.Module) -> str:
    return (ast.get_docstring(tree) or "").split("\n")[0]


def _origin(point: EntryPoint) -> Path:
    spec = find_spec(point.module)
    if spec is None or spec.origin is None:
        raise RegistryError(f"entry point {point.name!r} of eos.commands names {point.module!r}, which is no module")
    return Path(spec.origin)
