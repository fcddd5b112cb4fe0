from dataclasses import replace

import pytest

from eos.compose import load_model_recipe
from eos.errors import RecipeError
from eos.models.layout import resolve_layout

A, B = "main", "local"


@pytest.mark.parametrize(
    ("layout", "layers", "wanted"),
    [
        ([A], 3, [A, A, A]),
        ([A, A, B], 5, [A, A, B, A, A]),
        ({"first": B, "rest": A}, 3, [B, A, A]),
        ({"first": B, "rest": A}, 1, [B]),
        ({0.5: B, 1.0: A}, 4, [B, B, A, A]),
        ({"1.0": A, "0.5": B}, 4, [B, B, A, A]),
        ({0.25: A, 0.75: B, 1.0: A}, 8, [A, A, B, B, B, B, A, A]),
        ({0.1: B, 1.0: A}, 3, [A, A, A]),
    ],
)
def test_every_form_names_every_layer(layout: object, layers: int, wanted: list[str]) -> None:
    recipe = replace(load_model_recipe("hybrid"), layout=layout, layers=layers)
    assert resolve_layout(recipe) == wanted


@pytest.mark.parametrize(
    ("layout", "said"),
    [
        ([], "empty layout"),
        ([A, "mian"], "Did you mean 'main'"),
        ({"first": A, "last": B}, "allowed is"),
        ({0.5: A}, "end with 1.0"),
        ({0.0: A, 1.0: B}, "> 0"),
        ({0.5: A, 1.5: B}, "end with 1.0"),
    ],
)
def test_another_form_is_refused(layout: object, said: str) -> None:
    with pytest.raises(RecipeError, match=said):
        resolve_layout(replace(load_model_recipe("hybrid"), layout=layout))
