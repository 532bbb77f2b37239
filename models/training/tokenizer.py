"""A CLIP-style tokenizer, trained on training captions.

    python -m models.training.tokenizer --config models/training/tokenizer.toml --work var/train

Byte-level BPE with the end-of-word suffix, so any Unicode prompt encodes; the vocabulary is laid out
in CLIP's order (Radford et al. 2021): bytes, bytes at a word's end, merges, start, end.
"""

import argparse
import json
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from tokenizers import Regex, Tokenizer, normalizers, pre_tokenizers, trainers
from tokenizers.models import BPE
from transformers import CLIPTokenizer

from models.training.captions import draw_scenes, training_caption
from models.training.config import table

START, END, WORD_END = "<|startoftext|>", "<|endoftext|>", "</w>"
PIECES = (
    r"<\|startoftext\|>|<\|endoftext\|>|'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"  # CLIP's
)


@dataclass(frozen=True)
class Vocabulary:
    """How many captions to read, the largest vocabulary, the longest prompt in tokens."""

    captions: int
    vocabulary: int
    model_max_length: int
    seed: int


def learn_merges(captions: list[str], vocabulary: int) -> list[tuple[str, str]]:
    """BPE merges in the order in which they were learnt."""
    learner = Tokenizer(BPE(unk_token=END, end_of_word_suffix=WORD_END, continuing_subword_prefix=""))
    learner.normalizer = normalizers.Sequence(
        [normalizers.NFC(), normalizers.Replace(Regex(r"\s+"), " "), normalizers.Lowercase()]
    )
    learner.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(PIECES), behavior="removed", invert=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False),
        ]
    )
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary,
        min_frequency=2,
        special_tokens=[],
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        end_of_word_suffix=WORD_END,
        show_progress=False,
    )
    learner.train_from_iterator(captions, trainer)
    with tempfile.TemporaryDirectory() as folder:
        learner.model.save(folder)
        lines = (Path(folder) / "merges.txt").read_text(encoding="utf-8").splitlines()
    pairs = [tuple(line.split(" ")) for line in lines if line and not line.startswith("#version")]
    return [(left, right) for left, right in pairs]


def clip_vocabulary(merges: list[tuple[str, str]]) -> dict[str, int]:
    """Token ids in CLIP's order: the trainer itself knows only the word-end bytes it saw."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokens = [*alphabet, *(byte + WORD_END for byte in alphabet)]
    tokens += [left + right for left, right in merges]
    return {token: number for number, token in enumerate(dict.fromkeys([*tokens, START, END]))}


def make_tokenizer(captions: list[str], vocabulary: int, model_max_length: int) -> CLIPTokenizer:
    """A CLIPTokenizer that pads with the end token, as Stable Diffusion 1.5 does."""
    merges = learn_merges(captions, vocabulary)
    return CLIPTokenizer(
        vocab=clip_vocabulary(merges),
        merges=merges,
        unk_token=END,
        bos_token=START,
        eos_token=END,
        pad_token=END,
        model_max_length=model_max_length,
    )


def save_with_plain_files(tokenizer: CLIPTokenizer, folder: Path) -> None:
    """Save for today's loaders, and vocab.json + merges.txt for older ones."""
    tokenizer.save_pretrained(folder)
    model = json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))["model"]
    (folder / "vocab.json").write_text(json.dumps(model["vocab"], ensure_ascii=False), encoding="utf-8")
    merges = [" ".join(pair) if isinstance(pair, list) else pair for pair in model["merges"]]
    (folder / "merges.txt").write_text("\n".join(["#version: 0.2", *merges]) + "\n", encoding="utf-8")


def build(config: Path, work: Path) -> Path:
    """Train and save `work/tokenizer`; returns at once when it is there."""
    folder = work / "tokenizer"
    if folder.exists():
        return folder
    wanted = table(config, "tokenizer", Vocabulary)
    rng = np.random.default_rng(wanted.seed)
    captions = [training_caption(scene, rng) for scene in draw_scenes(wanted.captions, wanted.seed, "train")]
    tokenizer = make_tokenizer(captions, wanted.vocabulary, wanted.model_max_length)
    longest = max(len(tokenizer(text).input_ids) for text in captions[:4000])
    print(f"tokenizer: {len(tokenizer)} tokens, longest caption {longest} tokens", flush=True)
    partial = work / "tokenizer.partial"
    shutil.rmtree(partial, ignore_errors=True)
    save_with_plain_files(tokenizer, partial)
    partial.rename(folder)
    return folder


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description="Train the caption tokenizer.")
    parser.add_argument("--config", type=Path, default=Path(__file__).with_name("tokenizer.toml"))
    parser.add_argument("--work", type=Path, required=True)
    options = parser.parse_args()
    build(options.config, options.work)


if __name__ == "__main__":
    main()
