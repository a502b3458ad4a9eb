"""What all figures share: how they begin, and how they become a file whose bytes say nothing but what is drawn."""

import io
import warnings
from typing import Any


def subplots(rows: int, columns: int, size: tuple[float, float], **options: Any) -> tuple[Any, Any]:
    """A figure of `size` inches and its axes, [rows, columns]."""
    import matplotlib

    matplotlib.use("agg")
    from matplotlib import pyplot as plt

    return plt.subplots(rows, columns, figsize=size, squeeze=False, **options)


def plain(text: str) -> str:
    """Text of a run file as Matplotlib sets it: no mathematics."""
    return text.replace("$", r"\$")


def png(figure: Any, dpi: int = 110) -> bytes:
    """A Matplotlib figure as PNG; the figure is closed."""
    from matplotlib import pyplot as plt

    buffer = io.BytesIO()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph")  # of letters that the font lacks, and draws as boxes
        figure.savefig(buffer, format="png", dpi=dpi, bbox_inches="tight", metadata={"Software": None})
    plt.close(figure)
    return buffer.getvalue()
