"""BERT on transcripts, through transformers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import torch
from torch import Tensor, nn
from transformers import BertConfig, BertModel

from ser_kd.contracts.batch import ModelInput
from ser_kd.contracts.errors import ConfigError, DataError
from ser_kd.contracts.outputs import Encoded, Features
from ser_kd.functional.masking import clear_frames, lengths_to_mask, masked_mean
from ser_kd.models.block_map import choose_blocks, choose_hidden_layers
from ser_kd.models.encoders.library_config import check_same_shaping, make_library_config
from ser_kd.models.encoders.word_pieces import TOKENIZER_FILE, VOCABULARY_FILE, WordPieces, count_words, fit_word_pieces, read_word_pieces
from ser_kd.models.pretrained import (
    PretrainedModule,
    Weights,
    describe_missing_weights,
    fit_weights,
    read_folder_config,
    select_part,
)
from ser_kd.storage.downloads import is_folder

_SHAPING = (
    "vocab_size", "hidden_size", "num_attention_heads", "intermediate_size", "hidden_act", "max_position_embeddings", "type_vocab_size",
    "layer_norm_eps",
)  # fmt: skip
_PREFIXES = ("bert.",)
_BLOCKS = "encoder.layer."
_POOLER = "pooler."
_OLD_NAMES = {".gamma": ".weight", ".beta": ".bias"}
"""How layer normalisation is called in the first BERTs, and still is in their files on the hub."""
_LEFT_OVER = ("embeddings.position_ids",)
_HEAD_WIDTH = 64

Embedding = Literal["cls", "pooled", "mean"]


class TextBert(PretrainedModule):
    """BERT: transcript -> word pieces -> transformer blocks -> one embedding for each clip, and a frame for each piece.

    Texts are cut into word pieces here. Of a pretrained model the vocabulary comes with the weights; of a random one it is fitted to the
    training transcripts before step 0 (see ``fit_word_pieces``). Either way it travels with the checkpoint, so that a trained model
    reads without the files it started from. Attention sees a text's own pieces only: its answer is the same alone and in any batch.

    Args:
        source: Folder with ``config.json``, weights and vocabulary, whose sizes are then taken, or a name on the Hugging Face hub.
        weights: "pretrained" waits for ``load_weights``; "random" needs no source.
        layers: Transformer blocks; None as in ``settings`` or the folder. Fewer than the checkpoint has takes its lowest.
        width: Width of frames, with heads of 64 and an inner layer four times as wide; None as pretrained.
        vocabulary_size: Most word pieces; None as pretrained.
        settings: Further keys of the library's configuration (``hidden_dropout_prob``, …); its defaults are the base model.
        embedding: ``cls``: the last state of [CLS]. ``pooled``: that through the pretrained layer and tanh of next-sentence prediction.
            ``mean``: over all pieces.
        max_tokens: Most word pieces that are read of a text, [CLS] and [SEP] among them; the rest is cut off.
        freeze: What does not learn: "none", "embeddings" or "encoder" (everything).
        frozen_blocks: So many of the lowest blocks, and the embeddings, do not learn either.
        hidden_layers: Which hidden states are handed out: 0 is the input of the first block, k the output of block k; or "all".
        gradient_checkpointing: Compute activations anew in the backward pass: less memory, a third more time.

    Raises:
        ConfigError: If sizes, layers or settings do not fit together.
        DataError: If the source is a folder without a model.

    Source: Devlin et al. 2019, "BERT: Pre-training of Deep Bidirectional Transformers for Language Understanding".
    """

    reads_text = True

    def __init__(
        self,
        source: str = "google-bert/bert-base-uncased",
        weights: Weights = "pretrained",
        layers: int | None = None,
        width: int | None = None,
        vocabulary_size: int | None = None,
        settings: Mapping[str, Any] | None = None,
        embedding: Embedding = "cls",
        max_tokens: int = 128,
        freeze: Literal["none", "embeddings", "encoder"] = "none",
        frozen_blocks: int = 0,
        hidden_layers: Literal["all"] | Sequence[int] = (),
        gradient_checkpointing: bool = False,
    ) -> None:
        super().__init__(source, weights)
        sizes: dict[str, Any] = {"num_hidden_layers": layers, "vocab_size": vocabulary_size}
        if width is not None:
            sizes |= {"hidden_size": width, "num_attention_heads": max(1, width // _HEAD_WIDTH), "intermediate_size": 4 * width}
        config = make_library_config(BertConfig, settings, read_folder_config(source, weights), sizes, (*_SHAPING, "num_hidden_layers"))
        if embedding not in ("cls", "pooled", "mean"):
            raise ConfigError(
                "Unknown embedding.", expected="cls, pooled or mean", got=str(embedding), remedy="set the encoder's embedding"
            )
        if not 2 <= max_tokens <= config.max_position_embeddings:
            raise ConfigError(
                "The model cannot read texts of this length.",
                expected=f"max_tokens from 2 to {config.max_position_embeddings} (max_position_embeddings)",
                got=str(max_tokens),
                remedy="set the encoder's max_tokens",
            )
        self.width: int = config.hidden_size
        self.embedding = embedding
        self.max_tokens = max_tokens
        self.hidden_layers = choose_hidden_layers(hidden_layers, config.num_hidden_layers)
        self.model: Any = BertModel(config, add_pooling_layer=embedding == "pooled")
        self.word_pieces: WordPieces | None = None
        self._counts: Counter[str] | None = None
        if gradient_checkpointing:
            self.model.gradient_checkpointing_enable({"use_reentrant": False})
        self._freeze(freeze, frozen_blocks)

    def load_weights(self) -> None:
        """Load weights and vocabulary, from the hub if need be; does nothing where none are awaited.

        Raises:
            DataError: If they cannot be had, are damaged, or are those of another network.
            ConfigError: If the checkpoint contradicts the configuration.
        """
        if self.awaits_weights:
            super().load_weights()
            found = read_word_pieces(self.source, download=True)
            if found is None or len(found.tokens) > self.model.config.vocab_size:
                raise self._describe_vocabulary(found)
            self.word_pieces = found

    def missing_weights(self) -> str:
        """Say which weights or vocabulary are wanted and not on this machine; empty where nothing is missing."""
        missing = super().missing_weights()
        if missing or not self.awaits_weights or read_word_pieces(self.source) is not None:
            return missing
        return str(self._describe_vocabulary(None))

    def take_checkpoint(self, config: Mapping[str, Any], preprocessor: Mapping[str, Any], weights: dict[str, Tensor]) -> None:
        """Check kind and sizes of a checkpoint, and take its weights; heads of its pretraining are left where they are.

        Raises:
            ConfigError: If they contradict the configuration.
            DataError: If a tensor is missing, left over or of another shape.
        """
        check_same_shaping(self.model.config, config, _SHAPING, self.source)
        theirs = type(self.model.config).from_dict(dict(config)).num_hidden_layers
        part = select_part(weights, _PREFIXES)
        for old, new in _OLD_NAMES.items():
            part = {name.removesuffix(old) + new if name.endswith(old) else name: value for name, value in part.items()}
        part = choose_blocks(part, _BLOCKS, range(1, self.model.config.num_hidden_layers + 1), theirs, self.source)
        if self.embedding != "pooled":
            part = {name: value for name, value in part.items() if not name.startswith(_POOLER)}
        fit_weights(self.model, part, self.source, optional=_LEFT_OVER)

    @property
    def layer_widths(self) -> dict[int, int]:
        """The hidden states there are: number -> D."""
        return dict.fromkeys(range(self.model.config.num_hidden_layers + 1), self.width)

    @property
    def is_fitted(self) -> bool:
        """Whether there is a vocabulary."""
        return self.word_pieces is not None

    def begin_fit(self) -> None:
        """Begin to count the words of training transcripts."""
        self._counts = Counter()

    def update_fit(self, inputs: ModelInput) -> None:
        """Count the words of some training clips.

        Raises:
            ConfigError: If ``begin_fit`` was not called.
        """
        if self._counts is None:
            raise ConfigError(
                "A vocabulary is being fitted that was never begun.",
                expected="begin_fit() first",
                got="update_fit() alone",
                remedy="call begin_fit(), update_fit(inputs) for each batch, end_fit()",
            )
        self._counts.update(count_words(text for text in inputs.texts or () if text))

    def end_fit(self) -> None:
        """Make the vocabulary.

        Raises:
            DataError: If the training clips have no words.
            ConfigError: If it has no room for all characters.
        """
        if not self._counts:
            raise DataError(
                "No vocabulary can be made: the training clips have no words.",
                expected="transcripts of the training clips",
                got="none",
                remedy="choose a corpus with transcripts, or give them (datamodule.transcripts=FILE)",
            )
        self.word_pieces = fit_word_pieces(self._counts, self.model.config.vocab_size)
        self._counts = None

    def get_extra_state(self) -> Tensor:
        """Give the vocabulary as bytes, so that it lies in the checkpoint; empty where there is none."""
        data = b"" if self.word_pieces is None else self.word_pieces.to_bytes()
        return torch.tensor(list(data), dtype=torch.uint8)

    def set_extra_state(self, state: Tensor) -> None:
        """Take the vocabulary of a checkpoint."""
        self.word_pieces = WordPieces.from_bytes(bytes(state.tolist())) if len(state) else None

    def forward(self, features: Features) -> Encoded:
        """Give an embedding (B, D), a frame for each word piece (B, F, D), their mask, and the chosen hidden states.

        Raises:
            ConfigError: If the pretrained weights were never loaded, or there is no vocabulary.
            DataError: If a clip has no text.
        """
        self.check_has_weights()
        pieces, mask = self._cut(features.texts)
        answer = self.model(input_ids=pieces, attention_mask=mask.long(), output_hidden_states=bool(self.hidden_layers))
        frames: Tensor = answer.last_hidden_state
        chosen = {number: clear_frames(answer.hidden_states[number], mask) for number in self.hidden_layers}
        return Encoded(clear_frames(frames, mask), mask, self._pool(frames, mask, answer.pooler_output), chosen)

    def _pool(self, frames: Tensor, mask: Tensor, pooled: Tensor | None) -> Tensor:
        if pooled is not None:
            return pooled
        return frames[:, 0] if self.embedding == "cls" else masked_mean(frames, mask)

    @torch.compiler.disable
    def _cut(self, texts: Sequence[str | None] | None) -> tuple[Tensor, Tensor]:
        """Cut texts into pieces (B, F) int64 on the model's device, and mark the valid ones."""
        if self.word_pieces is None:
            raise ConfigError(
                "The vocabulary was never fitted.",
                expected="word pieces of the training transcripts, or of a checkpoint",
                got="a new TextBert without any",
                remedy="train the model or load a checkpoint; by hand: begin_fit(), update_fit(inputs) for each training batch, end_fit()",
            )
        if texts is None or any(text is None for text in texts):
            silent = "every clip" if texts is None else f"{sum(text is None for text in texts)} of {len(texts)} clips"
            raise DataError(
                "TextBert reads transcripts, and clips have none.",
                expected="a text for each clip; an empty one is read as no words",
                got=f"no text for {silent} of the batch",
                remedy="choose a corpus with transcripts, or give them (datamodule.transcripts=FILE)",
            )
        rows = [self.word_pieces.encode(text or "", self.max_tokens) for text in texts]
        longest = max(map(len, rows))
        device = self.model.embeddings.word_embeddings.weight.device
        filled = [[*row, *[self.word_pieces.padding] * (longest - len(row))] for row in rows]
        lengths = torch.tensor([len(row) for row in rows], device=device)
        return torch.tensor(filled, device=device), lengths_to_mask(lengths, longest)

    def _describe_vocabulary(self, found: WordPieces | None) -> DataError:
        where = f"in {self.source}" if is_folder(self.source) else f"of '{self.source}' on this machine"
        if found is None and not is_folder(self.source):
            return describe_missing_weights({"the encoder's source": self.source})
        return DataError(
            "The model's vocabulary cannot be used.",
            expected=f"{VOCABULARY_FILE} or {TOKENIZER_FILE} {where}, of at most {self.model.config.vocab_size:,} word pieces (vocab_size)",
            got="neither" if found is None else f"{len(found.tokens):,} word pieces",
            remedy="copy the tokenizer's files beside the weights, as save_pretrained writes them",
        )

    def _freeze(self, freeze: str, frozen_blocks: int) -> None:
        if freeze not in ("none", "embeddings", "encoder") or not 0 <= frozen_blocks <= self.model.config.num_hidden_layers:
            raise ConfigError(
                "This cannot be frozen.",
                expected=f"none, embeddings or encoder, and frozen_blocks from 0 to {self.model.config.num_hidden_layers}",
                got=f"freeze={freeze}, frozen_blocks={frozen_blocks}",
                remedy="set freeze and frozen_blocks",
            )
        frozen: list[nn.Module] = [self.model] if freeze == "encoder" else []
        if freeze == "embeddings" or frozen_blocks:
            frozen += [self.model.embeddings, *self.model.encoder.layer[:frozen_blocks]]
        for part in frozen:
            part.requires_grad_(False)
