"""One self-contained HTML page from the records and curves of many runs."""

import base64
import hashlib
import json
from collections.abc import Mapping
from functools import lru_cache
from importlib.resources import files
from typing import Any

from jinja2 import Environment, select_autoescape
from markupsafe import Markup
from plotly.offline import get_plotlyjs

# One script: `import` does not work from file://, and one hash covers it. A file may use what stands before it.
SCRIPTS = (
    "dom.js",
    "format.js",
    "stats.js",
    "effects.js",
    "data.js",
    "curves.js",
    "state.js",
    "view.js",
    "names.js",
    "charts.js",
    "export.js",
    "latex.js",
    "table.js",
    "figure.js",
    "answer.js",
    "frame.js",
    "pages/empty.js",
    "pages/overview.js",
    "pages/overviewcells.js",
    "pages/stages.js",
    "pages/stagemap.js",
    "pages/curves.js",
    "pages/curveplot.js",
    "pages/tradeoffs.js",
    "pages/scaling.js",
    "pages/recall.js",
    "pages/recallplot.js",
    "pages/search.js",
    "pages/trials.js",
    "pages/run.js",
    "pages/memory.js",
    "live.js",
    "main.js",
)
STYLES = ("page.css", "controls.css", "table.css", "parts.css", "media.css")


def render(data: Mapping[str, Any], curves: bytes, *, live: bool = False) -> str:
    """The page as text.

    Arguments:
        data: The records, as JSON values with finite numbers only.
        curves: The curves, gzip-compressed.
        live: Whether the page is served: then it holds no data, but asks /data.json and /curves.bin for them.
    """
    return (
        Environment(autoescape=select_autoescape(default=True, default_for_string=True))
        .from_string(_asset("page.html.j2"))
        .render(
            live=live,
            policy=policy(live=live),
            style=Markup(_style()),
            plotly=Markup(_plotly()),
            script=Markup(_script()),
            data=None if live else Markup(embedded(data)),
            curves=None if live else base64.b64encode(curves).decode("ascii"),
        )
    )


def policy(*, live: bool = False) -> str:
    """The content security policy of the page: its own two scripts run, and nothing is fetched from elsewhere."""
    hashes = " ".join(f"'sha256-{_digest(text)}'" for text in (_plotly(), _script()))
    parts = [
        "default-src 'none'",
        f"script-src {hashes}",
        "style-src 'unsafe-inline'",
        "img-src data: blob:",
        "base-uri 'none'",
        "form-action 'none'",
    ]
    return "; ".join([*parts, "connect-src 'self'"] if live else parts)


def policy_header() -> str:
    """The Content-Security-Policy header of the served page: its policy, and that no other page frames it."""
    return policy(live=True) + "; frame-ancestors 'none'"


def embedded(data: Mapping[str, Any]) -> str:
    """JSON that can stand in a script element: no text in it ends the element or opens a comment."""
    text = json.dumps(data, ensure_ascii=True, allow_nan=False, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _asset(name: str) -> str:
    return files(__package__).joinpath("assets", *name.split("/")).read_text(encoding="utf-8")


@lru_cache(maxsize=1)
def _script() -> str:
    parts = "\n".join(_asset(name) for name in SCRIPTS)
    return f'(() => {{\n"use strict";\n{parts}\n}})();'


@lru_cache(maxsize=1)
def _style() -> str:
    return "\n".join(_asset(name) for name in STYLES)


@lru_cache(maxsize=1)
def _plotly() -> str:
    return str(get_plotlyjs())


def _digest(text: str) -> str:
    return base64.b64encode(hashlib.sha256(text.encode("utf-8")).digest()).decode("ascii")
