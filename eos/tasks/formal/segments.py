"""Segments of rows that a recipe lists for each part of the data."""

from eos.config import option, options
from eos.errors import RecipeError
from eos.tasks.generated.task import Length


@options
class Lengths:
    """Rows of each part, of one length a segment."""

    train: list[Length] = option(description="segments of an epoch")
    validation: list[Length] = option(description="segments of the validation part")
    test: list[Length] = option(description="segments of the test part, each graded by itself too")


def check_lengths(segments: Lengths, least: int) -> None:
    """Refuse a part without segments, and rows that are too short to ask anything.

    Raises:
        RecipeError: naming the part, the length and the least one.
    """
    for part in ("train", "validation", "test"):
        listed: list[Length] = getattr(segments, part)
        if not listed:
            raise RecipeError(f"task.{part} needs at least one segment")
        for segment in listed:
            if segment.length < least:
                raise RecipeError(f"task.{part}: a row of this task has at least {least} tokens, got {segment.length}")
