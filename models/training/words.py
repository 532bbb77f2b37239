"""The words that a model has read: taken from its training captions, kept in its folder.

    python -m models.training.words --weights models/micro

Writes the vocabulary into cinema.json and the manifest anew. The service warns with it about words that
the text encoder has never met.
"""

import argparse
import json
from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict, replace
from pathlib import Path

from models.cinema import MICRO_WEIGHTS
from models.spec import Vocabulary
from models.training.captions import BACKGROUND_WORDS, MOTION_PHRASES, PARTIAL_TEMPLATES, TRAIN_TEMPLATES
from models.training.world import BACKGROUNDS, COLORS, SHAPES
from models.weights import read_spec, write_manifest


def training_vocabulary() -> Vocabulary:
    """Every word that a training caption can hold (held-out templates are made of these, too).

    Words of the templates are filler, and so is a word that several motions share, such as "moving".
    """
    blank = dict.fromkeys(("color", "shape", "background", "motion"), "")
    filler = distinct(
        template.format(**blank).replace(",", " ") for template in (*TRAIN_TEMPLATES, *PARTIAL_TEMPLATES)
    )
    motions = [distinct(phrases) for phrases in MOTION_PHRASES.values()]
    used_by = Counter(word for motion in motions for word in motion)
    filler = distinct([*filler, *(word for word, motions_with_it in used_by.items() if motions_with_it > 1)])
    backgrounds = [word for name in BACKGROUNDS for word in BACKGROUND_WORDS.get(name, (name,))]
    telling = distinct([*COLORS, *SHAPES, *backgrounds, *used_by])
    return Vocabulary(tuple(word for word in telling if word not in filler), tuple(filler))


def distinct(texts: Iterable[str]) -> list[str]:
    """The words of the texts, each once, in order of appearance."""
    return list(dict.fromkeys(word for text in texts for word in text.split()))


def write_vocabulary(folder: Path) -> Vocabulary:
    """Put the training vocabulary into the model's cinema.json; the manifest follows."""
    spec = replace(read_spec(folder), vocabulary=training_vocabulary())
    (folder / "cinema.json").write_text(json.dumps(asdict(spec), indent=2) + "\n")
    write_manifest(folder)
    return training_vocabulary()


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description="Write the words of the training captions into a model.")
    parser.add_argument("--weights", type=Path, default=MICRO_WEIGHTS, help="weights folder")
    vocabulary = write_vocabulary(parser.parse_args().weights)
    print(f"{len(vocabulary.telling)} telling words: {', '.join(vocabulary.telling)}")
    print(f"{len(vocabulary.filler)} filler words: {', '.join(vocabulary.filler)}")


if __name__ == "__main__":
    main()
