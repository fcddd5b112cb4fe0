"""The table of all tasks in docs/tasks.md, made from what their files say of themselves."""

from pathlib import Path

from eos import registry

PAGE = Path(__file__).resolve().parent.parent.parent / "docs" / "tasks.md"
HEAD = "| task | recipes | what is asked | metric | chance | floor | source |"


def table() -> str:
    """The whole table."""
    rows = [HEAD, "| --- | --- | --- | --- | --- | --- | --- |"]
    recipes = registry.task_recipes()
    for name, entry in sorted(registry.tasks().items()):
        named = ", ".join(f"`{recipe}`" for recipe in recipes[name])
        cells = [f"`{name}`", named, entry.summary, entry.metric, entry.chance, entry.floor, entry.source]
        rows.append(f"| {' | '.join(cell.replace('|', '∣') for cell in cells)} |")
    return "\n".join(rows)


def page() -> str:
    """The page as it stands, with the table made anew."""
    before, _, rest = PAGE.read_text(encoding="utf-8").partition(HEAD)
    _, _, after = rest.partition("\n\n")
    return f"{before}{table()}\n\n{after}"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
