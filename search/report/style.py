"""How figures look: 175 mm wide, 8 points, light on white."""

from typing import Any

INK, GREY, FIRST, SECOND = "#1A1A1A", "#8A9099", "#2166AC", "#B35806"
#: Inches: the width, and the height of a row.
WIDTH, ROW = 6.9, 0.2
STYLE: Any = {
    "font.size": 8,
    "axes.titlesize": 8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "figure.constrained_layout.use": True,
    "pdf.fonttype": 42,
    # Names are text, whatever signs stand in them; and the same report gives the same bytes.
    "text.parse_math": False,
    "svg.hashsalt": "eos",
    "svg.fonttype": "none",
}
METADATA: dict[str, dict[str, Any]] = {"svg": {"Date": None}, "pdf": {"CreationDate": None}}
