"""Where the published city files come from: a folder named by `$OHIO_DATA`, else a cache filled by `ohio-jax data
fetch`.

The files are part of the paper's public repository and of two repositories of the same authors, byte for byte the same;
whichever answers first is used, since the SHA-256 of the content is what is pinned.
"""

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path

from ohio_jax import reading
from ohio_jax.errors import UserError, unknown

# Folder of the files in each public repository, at a fixed commit.
MIRRORS = (
    "https://raw.githubusercontent.com/carolinssc/OHIO/8fe5a7a9e1329c17bee80248b15d18ce11cec48b/dynamic_vehicle_routing/data/",
    "https://raw.githubusercontent.com/StanfordASL/RL4AMOD/3dcf29e0c6e23242b3489e7d57698f4d3b331c3e/src/envs/data/macro/",
    "https://raw.githubusercontent.com/carolinssc/offline-rl-for-amod/26bdf923fad75a382fd647880cf77aa2858ac050/data/",
)

SHA256 = {
    "scenario_nyc_brooklyn.json": "384b2fdfc023b66a1d88736ce216452a1a03753d908c386e806f8c025ef28bab",
    "scenario_shenzhen_downtown_west.json": "c867b2b0f2373b28657e4a87e3f603ae71771e5a8e36e0680d479fa6cfaeb1b5",
}

LARGEST = 64 * 2**20  # bytes of a data file

# The file a task needs.
TASK_FILES = {
    "routing-nyc": "scenario_nyc_brooklyn.json",
    "routing-shenzhen": "scenario_shenzhen_downtown_west.json",
}


@dataclass(frozen=True)
class File:
    """A published file: its name, the SHA-256 it must have, and where it lies (None if it is nowhere)."""

    name: str
    sha256: str
    path: Path | None


def cache() -> Path:
    """The cache folder, `ohio_jax` in the user's own cache directory."""
    import pooch

    return Path(pooch.os_cache("ohio_jax"))


def _find(name: str) -> Path | None:
    folder = os.environ.get("OHIO_DATA")
    places = ([Path(folder)] if folder else []) + [cache()]
    return next((place / name for place in places if (place / name).is_file()), None)


def list_files() -> list[File]:
    """Every published file and where it lies on this machine; reads nothing."""
    return [File(name, sha256, _find(name)) for name, sha256 in SHA256.items()]


def locate(name: str) -> Path:
    """Path of a published file, given by its own name or by that of the task that needs it; the content is not checked.

    Raises:
        UserError: for an unknown name, or if the file is nowhere.
    """
    name = TASK_FILES.get(name, name)
    if name not in SHA256:
        raise unknown("city file", name, [*SHA256, *TASK_FILES])
    path = _find(name)
    if path is None:
        raise UserError(
            f"{name}: not in $OHIO_DATA ({os.environ.get('OHIO_DATA') or 'unset'}) nor in {cache()}; set OHIO_DATA to "
            "the folder that holds it, or run `ohio-jax data fetch`, or use the task routing-synthetic, which needs no "
            "file"
        )
    return path


def content(path: Path, sha256: str | None = None) -> bytes:
    """The bytes of a data file. Raises UserError if it cannot be read, or has another SHA-256 than one that is given."""
    found = reading.content(path, LARGEST)
    if sha256 is not None and (digest := hashlib.sha256(found).hexdigest()) != sha256:
        raise UserError(f"{path}: expected SHA-256 {sha256}, found {digest}")
    return found


def verify() -> list[File]:
    """Checks the SHA-256 of every published file that is found.

    Returns:
        all files, found or not.

    Raises:
        UserError: naming file, expected and found checksum of the first wrong one.
    """
    files = list_files()
    for file in files:
        if file.path is not None:
            content(file.path, file.sha256)
    return files


def fetch() -> list[File]:
    """Downloads into the cache what is not there yet, each file from the first mirror whose content is the pinned one.

    Raises:
        UserError: with every mirror's answer if none delivers.
    """
    import pooch
    import requests

    for name, sha256 in SHA256.items():
        answers = []
        for mirror in MIRRORS:
            try:
                pooch.retrieve(mirror + name, known_hash=f"sha256:{sha256}", fname=name, path=cache())
                break
            except (requests.RequestException, ValueError, OSError) as error:
                reason = str(error).splitlines()[0] if str(error) else type(error).__name__
                answers.append(f"{mirror}: {reason[:160]}")
        else:
            raise UserError(f"{name}: expected a download of SHA-256 {sha256}, found " + "; ".join(answers))
    return list_files()
