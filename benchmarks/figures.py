"""What all figures share: how they become a file whose bytes say nothing but what is drawn."""

import io
from typing import Any


def png(figure: Any, dpi: int = 110) -> bytes:
    """A Matplotlib figure as PNG; the figure is closed."""
    from matplotlib import pyplot as plt

    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=dpi, bbox_inches="tight", metadata={"Software": None})
    plt.close(figure)
    return buffer.getvalue()
