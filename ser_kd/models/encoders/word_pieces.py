"""The word pieces of a BERT: read beside a checkpoint or fitted to training transcripts, and kept as plain data."""

from __future__ import annotations

import json
import string
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from transformers import BertTokenizer

from ser_kd.contracts.errors import ConfigError, DataError
from ser_kd.storage.downloads import find_file, read_json

SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
_ALPHABET = string.ascii_lowercase + string.digits
_INSIDE = "##"  # before a piece that begins no word
VOCABULARY_FILE, TOKENIZER_FILE, SETTINGS_FILE = "vocab.txt", "tokenizer.json", "tokenizer_config.json"


@dataclass(frozen=True)
class WordPieces:
    """A vocabulary of word pieces and how words are prepared for it.

    Args:
        tokens: Piece of each number.
        lowercase: Whether capitals count as small letters.
        strip_accents: Whether accents are dropped; None as ``lowercase``.

    Raises:
        DataError: If one of the special pieces is missing.
    """

    tokens: tuple[str, ...]
    lowercase: bool = True
    strip_accents: bool | None = None

    def __post_init__(self) -> None:
        missing = [name for name in SPECIAL if name not in self.tokens]
        if missing:
            raise DataError(
                "This is no vocabulary of a BERT.",
                expected=f"word pieces with {', '.join(SPECIAL)} among them",
                got=f"{len(self.tokens)} pieces without {', '.join(missing)}",
                remedy="choose a model whose tokenizer is that of BERT (WordPiece)",
            )

    @cached_property
    def _tokenizer(self) -> Any:
        return BertTokenizer({token: number for number, token in enumerate(self.tokens)}, self.lowercase, strip_accents=self.strip_accents)

    @property
    def padding(self) -> int:
        """The number that fills a batch."""
        return self.tokens.index(SPECIAL[0])

    def encode(self, text: str, longest: int) -> list[int]:
        """Give the numbers of a text's pieces between [CLS] and [SEP]; what is too long is cut at its end.

        Args:
            text: Any text; an empty one gives [CLS] [SEP].
            longest: Most pieces, [CLS] and [SEP] among them.
        """
        found: list[int] = self._tokenizer(text, truncation=True, max_length=longest)["input_ids"]
        return found

    def to_bytes(self) -> bytes:
        """Write it as plain data."""
        return json.dumps(asdict(self), ensure_ascii=False).encode()

    @classmethod
    def from_bytes(cls, data: bytes) -> WordPieces:
        """Read what ``to_bytes`` wrote."""
        found = json.loads(data.decode())
        return cls(**{**found, "tokens": tuple(found["tokens"])})


def count_words(texts: Iterable[str]) -> Counter[str]:
    """Count words as a BERT of small letters splits them: at white space and around punctuation, without accents."""
    tokenizer: Any = BertTokenizer()._tokenizer
    counts: Counter[str] = Counter()
    for text in texts:
        prepared = tokenizer.normalizer.normalize_str(text)
        counts.update(word for word, _ in tokenizer.pre_tokenizer.pre_tokenize_str(prepared))
    return counts


def fit_word_pieces(counts: Mapping[str, int], size: int) -> WordPieces:
    """Make a vocabulary from the words of training transcripts: every letter, then the most frequent words whole.

    Letters and digits of English are always in it, and every other character of the transcripts, at the beginning of a word and inside
    it, so that a word nobody said in training is spelled. This is no trained WordPiece: it is the same whenever the counts are.

    Args:
        counts: Word -> how often it was said.
        size: Most pieces.

    Raises:
        ConfigError: If not even the characters fit in.
    """
    characters = sorted({*_ALPHABET, *(character for word in counts for character in word)})
    spelled = [*SPECIAL, *characters, *(_INSIDE + character for character in characters)]
    if len(spelled) > size:
        raise ConfigError(
            "The vocabulary is too small for the characters of the transcripts.",
            expected=f"vocabulary_size of {len(spelled)} or more",
            got=str(size),
            remedy="set student.encoder.vocabulary_size",
        )
    words = sorted((word for word in counts if len(word) > 1), key=lambda word: (-counts[word], word))
    return WordPieces((*spelled, *words[: size - len(spelled)]))


def read_word_pieces(source: str, download: bool = False) -> WordPieces | None:
    """Read the vocabulary that lies beside a checkpoint.

    ``vocab.txt`` with ``tokenizer_config.json``, or ``tokenizer.json`` alone, as newer releases of transformers write it.

    Args:
        source: Folder, or a name on the Hugging Face hub.
        download: Whether the hub may be asked.

    Returns:
        The vocabulary, or None where there is none.

    Raises:
        DataError: If a file is damaged or of another kind of tokenizer.
    """
    listed = find_file(source, VOCABULARY_FILE, download)
    if listed is not None:
        settings_file = find_file(source, SETTINGS_FILE, download)
        settings = {} if settings_file is None else read_json(settings_file)
        tokens = tuple(listed.read_text(encoding="utf-8").removesuffix("\n").split("\n"))
        # some models leave their settings out: a vocabulary with capitals was made of texts that have them
        told = settings.get("do_lower_case", not any(token != token.lower() for token in tokens if not token.startswith("[")))
        return WordPieces(tokens, bool(told), settings.get("strip_accents"))
    whole = find_file(source, TOKENIZER_FILE, download)
    return None if whole is None else _read_whole(whole)


def _read_whole(path: Path) -> WordPieces:
    content = read_json(path)
    model, normalizer = content.get("model") or {}, content.get("normalizer") or {}
    vocabulary = model.get("vocab")
    kind = model.get("type", "none"), normalizer.get("type", "none")
    if kind != ("WordPiece", "BertNormalizer") or not isinstance(vocabulary, dict):
        raise DataError(
            "The tokenizer beside the weights is not that of a BERT.",
            expected="word pieces (WordPiece) with BERT's preparation (BertNormalizer)",
            got=f"{path}: {' with '.join(map(str, kind))}",
            remedy="choose a BERT, or a model with vocab.txt beside its weights",
        )
    return WordPieces(_in_order(vocabulary, path), bool(normalizer.get("lowercase", True)), normalizer.get("strip_accents"))


def _in_order(vocabulary: Mapping[str, int], path: Path) -> tuple[str, ...]:
    tokens: Sequence[str] = sorted(vocabulary, key=lambda token: vocabulary[token])
    if [vocabulary[token] for token in tokens] != list(range(len(tokens))):
        raise DataError(
            "The vocabulary has gaps.", expected="numbers from 0 on", got=str(path), remedy="it is damaged: copy or download it again"
        )
    return tuple(tokens)
