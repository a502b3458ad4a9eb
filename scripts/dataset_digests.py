"""Adds the digests of data sets in the cache to `datasets.json`, which data sets made on the same platform are compared with.

    ohio-jax data make reacher-medium-v1 --data-seed 0 --data-seed 1
    python -m scripts.dataset_digests

Parts that other code than today's made are left out, as are those of which only the first episodes are there.
"""

import json
import sys
from importlib import resources
from pathlib import Path

from ohio_bench.runner import source
from ohio_envs import datasets

from ohio_jax.errors import UserError
from ohio_jax.files import write_bytes


def ship(path: Path) -> tuple[int, int]:
    """Adds to a file of digests what it lacks: (parts added, parts left out since other code made them).

    Raises:
        UserError: for a part with another digest than the file has for its platform; nothing is written then.
    """
    shipped, added, left = json.loads(path.read_text(encoding="utf-8")), 0, 0
    for name in datasets.RECIPES:
        today = source.of_data_set(name)
        for seed in datasets.cached(name):
            for split in datasets.SPLITS:
                if not (card := datasets.card(name, seed, split)):
                    continue
                if card.get("sources") != today:
                    left += 1
                    continue
                places = shipped.setdefault(name, {}).setdefault(str(seed), {}).setdefault(card["platform"], {})
                known, found = places.get(split), card["sha256"]
                if known not in (None, found):
                    place = f"{path}: data set {name}, data seed {seed}, {split}, platform {card['platform']}"
                    raise UserError(f"{place}: expected SHA-256 {known}, found {found} in the cache")
                places[split] = found
                added += known is None
    write_bytes(path, (json.dumps(shipped, indent=2, sort_keys=True) + "\n").encode())
    return added, left


if __name__ == "__main__":
    try:
        print(
            "{} digests added; {} parts left out, which other code made".format(
                *ship(Path(str(resources.files("ohio_envs"))) / datasets.DIGESTS)
            )
        )
    except UserError as error:
        print(error, file=sys.stderr)
        sys.exit(2)
