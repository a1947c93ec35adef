"""Builds the corpus of attacks into the folder given as argument, to try other tools, or a farm, on it.

    python tests/assets/build_hostile_corpus.py FOLDER

Each attack is a release of its own, `FOLDER/<kind>/<number>/`, and `FOLDER/attacks.json` says what it is and
how the farm refuses it. Nothing of it is kept in the repository; files of 10 GB are sparse.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from tests.hostile.corpus import ATTACKS


def main(root: Path) -> None:
    """Write every attack below the new folder `root`."""
    attacks = {}
    for number, (name, attack) in enumerate(ATTACKS.items()):
        folder = root / name.partition(":")[0] / f"{number:03}"
        folder.mkdir(parents=True)
        attack.make(folder)
        attacks[str(folder.relative_to(root))] = {
            "attack": name,
            "refused": attack.error.__name__,
            "words": attack.words,
        }
    (root / "attacks.json").write_text(json.dumps(attacks, indent=1) + "\n", "utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
