"""Data sets of earlier file formats as ones of today's. The only place that knows earlier words.

- 1: `sha256` is what `sha256_v1` is now; transitions have a `discount` of 0 or 1 and know whole segments alone.
- 2: high-level actions are called `goal`.

Cards of both speak of `behaviour` and `space`.
"""

from typing import Any

import numpy as np

from ohio_jax.data.arrays import VECTOR, check_form, digest_v1
from ohio_jax.errors import UserError

FORMAT = 3
CARD = {"behaviour": "behavior_policy", "space": "interface"}

Arrays = dict[str, np.ndarray]


def digest_of_format_1(arrays: Arrays) -> str:
    """What a file of format 1 with the same content says of it, so that what is made again is known to be the same."""
    then = {("goal" if k == "action" and "terminal" in arrays else k): v for k, v in arrays.items()}
    if "terminal" in arrays:
        then["discount"] = (~then.pop("terminal")).astype(np.float32)
        del then["elapsed"]
    return digest_v1(then)


def migrated(where: str, arrays: Arrays, card: dict[str, Any]) -> Arrays:
    """Arrays of a file of any format under today's names; nothing is lost. Raises UserError for discounts other than 0 and 1."""
    if card["format"] == FORMAT:
        return arrays
    names = {"goal": "action"} if card.get("kind") == "transitions" else {}
    found = {names.get(name, name): array for name, array in arrays.items()}
    if "discount" in found:
        discount = found.pop("discount")
        check_form(where, "discount", discount, VECTOR)
        ends = discount == 0
        odd = ~ends & (discount != 1)
        if odd.any():
            row = int(np.argmax(odd))
            raise UserError(f"{where}: field discount[{row}]: expected 0 or 1, found {discount[row]}")
        found |= {"elapsed": np.full(len(ends), card.get("steps", 1), np.int32), "terminal": ends}
    return found


def migrated_card(card: dict[str, Any], digest: str) -> dict[str, Any]:
    """The card of a file of any format; digest: of its arrays, today's."""
    if card["format"] == FORMAT:
        return card
    found = {CARD.get(name, name): value for name, value in card.items()} | {"format": FORMAT}
    return found if card["format"] > 1 else found | {"sha256": digest, "sha256_v1": card["sha256"]}
