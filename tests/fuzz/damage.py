"""What may become of sound content: strategies that spoil bytes, JSON values and arrays."""

import hashlib
import io
import json
from typing import Any

import numpy as np
from hypothesis import strategies as st

AWKWARD = (10**30, 10**400, 1e308, "x" * 10_000, "a\nb", "\x00", "\u202e", "\ud800", "<b>", "=1", "../x", "名前", [], {}, [[]])
JUNK = st.one_of(st.sampled_from(AWKWARD), st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=20))
FOREIGN = (b"", b"\xff" * 99, b"null", b"[]", b"{}", b"[" * 100_000)

# Numbers that a field of a data set never holds, whatever its type.
OUTSIDE = {
    "terminated": (2, -1),
    "truncated": (2,),
    "terminal": (7, -1),
    "elapsed": (0, -1, 10**6),
    "weight": (0, -1),
    "status": (-1, 9),
    "episode": (-1,),
    "offset": (0, -1, 8**9),
}


@st.composite
def damaged(draw, raw: bytes) -> bytes:
    """Bytes cut, overwritten, with some left out or put between; or others in their place."""
    if not raw or draw(st.integers(0, 9)) == 0:
        return draw(st.sampled_from(FOREIGN))
    start, new = draw(st.integers(0, len(raw) - 1)), draw(st.binary(max_size=16))
    stop = draw(st.sampled_from((start, start + len(new), start + 1, start + 64, len(raw))))
    return raw[:start] + new + raw[stop:]


@st.composite
def spoiled(draw, value: Any) -> Any:
    """A JSON value with one place in it replaced, left out, renamed or doubled, or with more beside it."""
    if not value or not isinstance(value, dict | list) or draw(st.integers(0, 9)) == 0:
        return draw(JUNK)
    key = draw(st.sampled_from(sorted(value) if isinstance(value, dict) else range(len(value))))
    copy, how = value.copy(), draw(st.sampled_from(("inside", "inside", "inside", "gone", "other", "more")))
    if how == "inside":
        copy[key] = draw(spoiled(value[key]))
    elif isinstance(copy, list):
        copy[key : key + 1] = {"gone": [], "other": [value[key]] * 2, "more": [value[key], draw(JUNK)]}[how]
    else:
        del copy[key]
        copy |= {"gone": {}, "other": {f"{key}_": value[key]}, "more": {key: value[key], "more": draw(JUNK)}}[how]
    return copy


def finite(value: Any) -> bool:
    """Whether a JSON value holds neither NaN nor infinity."""
    if isinstance(value, dict | list):
        return all(map(finite, value.values() if isinstance(value, dict) else value))
    return not isinstance(value, float) or bool(np.isfinite(value))


@st.composite
def wrong(draw, name: str, array: np.ndarray) -> np.ndarray:
    """What this field of a data set can never be: of another kind, shape, length or range."""
    choices = {
        "text": lambda: np.full(array.shape, "1"),
        "complex": lambda: array + 1j,
        "time": lambda: np.zeros(array.shape, "M8[s]"),
        "deep": lambda: array[..., None],
        "short": lambda: array[:-1],
        "long": lambda: np.concatenate([array, array]),
        "none": lambda: array[:0],
        "alone": lambda: np.array(array.flat[0]),
    }
    if array.ndim > 1:
        choices["wide"] = lambda: np.concatenate([array, array], axis=-1)
    if array.dtype.kind == "f":
        place, number = draw(st.integers(0, array.size - 1)), draw(st.sampled_from((np.nan, np.inf, -np.inf)))
        choices["not finite"] = lambda: np.where(np.arange(array.size).reshape(array.shape) == place, number, array)
    for number in OUTSIDE.get(name, ()):
        choices[str(number)] = lambda number=number: np.full(array.shape, number)
    return choices[draw(st.sampled_from(list(choices)))]()


def sealed(card: Any, arrays: dict[str, np.ndarray]) -> bytes:
    """A data set's file whose card has the digest of these arrays, given in the order of their fields."""
    of = lambda x: hashlib.sha256(f"{x.dtype.str} {x.shape}\n".encode() + x.tobytes()).hexdigest()
    if isinstance(card, dict) and "sha256" in card:
        card = {**card, "sha256": hashlib.sha256("\n".join(map(of, arrays.values())).encode()).hexdigest()}
    file = io.BytesIO()
    np.savez(file, card=np.array(json.dumps(card)), **arrays)  # pyright: ignore
    return file.getvalue()


def sealed_card(card: Any) -> bytes:
    """A folder's card that has its own digest, where it has one."""
    if isinstance(card, dict) and card.pop("card_sha256", None):
        card["card_sha256"] = hashlib.sha256(json.dumps(card, sort_keys=True).encode()).hexdigest()
    return json.dumps(card).encode()
