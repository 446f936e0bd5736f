"""The LightningDataModule of every corpus: manifest, decoded audio, one fold of a protocol, loaders."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import lightning
import torch
from torch.utils.data import DataLoader

from ser_kd.contracts.emotions import LabelSet, NoClasses
from ser_kd.contracts.errors import ConfigError
from ser_kd.contracts.interfaces import FeatureExtractor
from ser_kd.contracts.utterance import Utterance
from ser_kd.data.clip_features import ClipFeatures
from ser_kd.data.collate import EvaluationClips, Padding, SpeechCollation, choose_evaluation_length
from ser_kd.data.dataset import SpeechDataset, group_values
from ser_kd.data.decoded_audio import DecodedAudio, bad_audio_error, decode_corpus
from ser_kd.data.manifest import Corpus, Manifest, describe_left_out
from ser_kd.data.protocols.evaluation_protocol import EvaluationProtocol
from ser_kd.data.protocols.leakage import LeakageAudit, audit_fold
from ser_kd.data.protocols.protocol_fold import SPLITS, ProtocolFold, parse_group
from ser_kd.data.resumable_loader import ResumableLoader
from ser_kd.data.sampling import Balance, KeyedBatchSampler, check_shares
from ser_kd.data.silent_clips import OnSilence, check_on_silence, describe_empty, find_empty
from ser_kd.data.transcripts import OnMissingText, Transcripts, add_word_errors, check_word_error_rate, has_text, missing_text_error
from ser_kd.data.unlabelled_clips import UnlabelledClips


class SpeechDataModule(lightning.LightningDataModule):
    """One fold of a protocol on a corpus, audited for leaks before the first batch.

    Audio is decoded once into a memory-mapped cache. Clips whose audio cannot be used are left out, named and counted.

    Args:
        corpus: The corpus page.
        protocol: Classes, folds and how validation is held out.
        fold: Which fold, from 0.
        seed: Run seed: order of clips and random keys.
        batch_size: Clips per training batch, of all processes together where several share the run: what is learned does not depend on
            their number.
        evaluation_batch_size: Clips per validation or test batch; None is the training one.
        sample_rate_hz: Rate of the waveforms.
        clip_samples: See ``SpeechCollation``.
        padding: See ``SpeechCollation``.
        bucket_by_length: Batch clips of similar length; does nothing at a fixed length.
        balance: ``class`` draws each class equally often.
        withhold: ``K/N`` keeps the K-th of N groups of training speakers from training (see ``ProtocolFold.withhold``), for a teacher
            that answers for them unseen; None trains on all.
        workers: Loader processes; 0 loads in the training process, which is fast enough for cached audio.
        cache_dir: Folder for decoded audio; SER_KD_CACHE or ``cache`` by default.
        on_bad_audio: ``skip`` leaves damaged clips out, ``error`` refuses the corpus.
        key_epochs: K: training epoch e draws crops and augmentation as epoch e modulo K did; the order of clips is always new. None
            draws anew in each epoch.
        evaluation_clips: ``fitted`` brings validation and test clips to the length of training; ``whole`` judges them whole, masked
            where a batch is filled, however training clips are cut (see ``choose_evaluation_length``).
        unlabelled_root: Folder whose clips join training without a label, so that the teacher alone says what they are
            (see ``UnlabelledClips``); None for none.
        features: Name -> what computes that feature of the clips; batches carry each as ``features[name]``. A waveform augmentation
            changes none of them. Features that a teacher hears are added by the task that loads it.
        feature_workers: See ``ClipFeatures``.
        transcripts: CSV file with the columns ``id`` and ``text`` whose texts take the place of the corpus' own (see ``Transcripts``).
        on_missing_text: What becomes of clips without a text, see ``Transcripts``.
        word_error_rate: Share of the words of all texts that are made wrong, as a recogniser would (see ``add_word_errors``).
        on_unlabelled_silence: What becomes of clips of audio without any labels (``unlabelled_root``, a corpus that ``is_unlabelled``)
            that are silent or shorter than 0.1 s: ``skip`` leaves them out, ``error`` refuses them, ``keep`` trains on them. Clips with
            labels stay: whoever annotated them heard something.
    """

    def __init__(
        self,
        corpus: Corpus,
        protocol: EvaluationProtocol,
        fold: int = 0,
        seed: int = 0,
        batch_size: int = 64,
        evaluation_batch_size: int | None = None,
        sample_rate_hz: int = 16_000,
        clip_samples: int | None = None,
        padding: Padding = "masked",
        bucket_by_length: bool = True,
        balance: Balance = "none",
        withhold: str | None = None,
        workers: int = 0,
        cache_dir: str | Path | None = None,
        on_bad_audio: Literal["skip", "error"] = "skip",
        key_epochs: int | None = None,
        evaluation_clips: EvaluationClips = "fitted",
        unlabelled_root: str | Path | None = None,
        features: Mapping[str, FeatureExtractor] | None = None,
        feature_workers: int | None = None,
        transcripts: str | Path | None = None,
        on_missing_text: OnMissingText = "error",
        word_error_rate: float = 0.0,
        on_unlabelled_silence: OnSilence = "skip",
    ) -> None:
        super().__init__()
        self.corpus = corpus
        self.protocol = protocol
        self.fold_number = fold
        self.seed = seed
        self.batch_size = batch_size
        self.evaluation_batch_size = evaluation_batch_size or batch_size
        self.sample_rate_hz = sample_rate_hz
        self.clip_samples = clip_samples
        self.padding = padding
        self.bucket_by_length = bucket_by_length and padding == "masked"
        self.balance = balance
        self.withhold = None if withhold is None else parse_group(withhold)
        self.workers = workers
        self.cache_dir = Path(cache_dir or os.environ.get("SER_KD_CACHE", "cache"))
        if on_bad_audio not in ("skip", "error"):
            raise ConfigError(
                "Unknown way to treat damaged audio.", expected="skip or error", got=str(on_bad_audio), remedy="set datamodule.on_bad_audio"
            )
        self.on_bad_audio = on_bad_audio
        self.key_epochs = key_epochs
        self.progress: Callable[[int, int], None] | None = None
        SpeechCollation(clip_samples, padding)  # wrong lengths are told now, not after decoding
        self.evaluation_clips = evaluation_clips
        self.evaluation_length = choose_evaluation_length(clip_samples, padding, evaluation_clips)
        self.features = ClipFeatures(features, feature_workers)
        self._unlabelled = None if unlabelled_root is None else UnlabelledClips(unlabelled_root)
        self.transcripts = Transcripts(transcripts, on_missing_text)
        check_word_error_rate(word_error_rate)
        self.word_error_rate = word_error_rate
        check_on_silence(on_unlabelled_silence)
        self.on_unlabelled_silence = on_unlabelled_silence
        self._without_text: frozenset[str] = frozenset()
        self._fold: ProtocolFold | None = None
        self._manifest: Manifest | None = None
        self._audio: DecodedAudio | None = None

    def prepare_data(self) -> None:
        """Read the manifest and decode the corpus (once per machine)."""
        self._read()

    def setup(self, stage: str | None = None) -> None:
        """Choose the fold and audit it.

        Raises:
            DataError: If a split is empty, a label is outside the label set, or damaged clips are refused.
            LeakageError: If the splits share a speaker, a file or identical audio.
        """
        if self._fold is None:
            manifest, _ = self._read()
            fold = self.protocol.choose_fold(manifest, self.label_set, self.fold_number)
            fold = self.add_unlabelled(fold if self.withhold is None else fold.withhold(*self.withhold))
            self._without_text = frozenset(u.id for name in SPLITS for u in fold.split(name) if not has_text(u))
            if self.word_error_rate:
                fold, told = add_word_errors(fold, self.word_error_rate, self.seed)
                self._manifest = replace(manifest, notes=(*manifest.notes, told))
            self._fold = fold
            self.audit().raise_if_leaking(self.protocol.name)

    def extract_features(
        self,
        progress: Callable[[int, int], None] | None = None,
        tell: Callable[[str], None] = print,
        clips: Sequence[Utterance] | None = None,
    ) -> int:
        """Extract the named features of clips into the cache, as far as they are not there.

        Args:
            progress: Called with (clips done, clips in all).
            tell: Called with one line for what is written and what cannot be read.
            clips: Which; None are those of the fold.

        Returns:
            How many were extracted.

        Raises:
            DataError: If clips have no such feature, or the cache cannot be written.
        """
        if not self.features:
            return 0
        chosen = [*self.fold.train, *self.fold.validation_set, *self.fold.test] if clips is None else clips
        folder = self.cache_dir / "features" / self.corpus.name
        return self.features.complete(self.audio, chosen, folder, progress, tell)

    def check_texts(self, splits: Sequence[str] = SPLITS) -> None:
        """Check that each clip has a text, for a model that reads; a text whose words were all made wrong or dropped is one.

        Args:
            splits: Which clips are read.

        Raises:
            DataError: If clips lack one, and are not to be read as blank; they are named.
        """
        if self.transcripts.on_missing != "blank":
            clips = [u.id for name in splits for u in self.fold.split(name)]
            missing = [name for name in clips if name in self._without_text]
            if missing:
                raise missing_text_error(missing, len(clips))

    def exchange_texts(self, transcripts: Transcripts, split: str) -> list[str]:
        """Let the clips of the fold have other texts; who is in the fold was decided before and stays.

        Words err at ``word_error_rate`` anew, by the words of the training clips' new texts.

        Args:
            transcripts: The other texts; where they say ``skip``, clips of the split that lack one are left out.
            split: The split that is judged.

        Returns:
            What a reader must know of them.

        Raises:
            DataError: If the file cannot be used, or leaves no clip in the split.
        """
        notes = [*transcripts.apply(replace(self.manifest, notes=())).notes]
        clips = {name: transcripts.replace_texts(self.fold.split(name)) for name in SPLITS}
        if transcripts.on_missing == "skip":
            left_out = {u.id: "no transcript" for u in clips[split] if not has_text(u)}
            if left_out and len(left_out) == len(clips[split]):
                raise missing_text_error(list(left_out), len(clips[split]))
            clips[split] = tuple(u for u in clips[split] if u.id not in left_out)
            notes += [describe_left_out(left_out)] if left_out else []
        fold = replace(self.fold, train=clips["train"], validation_set=clips["validation"], test=clips["test"])
        self.transcripts = transcripts
        self._without_text = frozenset(u.id for found in clips.values() for u in found if not has_text(u))
        if self.word_error_rate:
            fold, heard = add_word_errors(fold, self.word_error_rate, self.seed)
            notes.append(heard)
        self._fold = fold
        return notes

    def refit(self) -> None:
        """Train on training and validation clips from now on; there is no validation any more."""
        self._fold = self.fold.refit()

    @property
    def label_set(self) -> LabelSet:
        """The classes of the protocol on this corpus; none where it learns dimensions alone.

        Raises:
            ConfigError: If the corpus has no label set of that name.
        """
        if self.protocol.targets == "dimensions":
            return NoClasses()
        name = self.protocol.label_set or self.corpus.default_label_set
        sets = self.corpus.label_sets
        if name not in sets:
            raise ConfigError(
                f"Corpus '{self.corpus.name}' has no label set '{name}'.",
                expected=f"one of {', '.join(sets)}",
                got=f"protocol.label_set={name}",
                remedy="set protocol.label_set to one of them, or to null for the corpus' default",
            )
        return sets[name]

    @property
    def fold(self) -> ProtocolFold:
        """The chosen fold."""
        self.setup()
        if self._fold is None:  # setup() always fills it; told to the type checker
            raise RuntimeError("setup() chose no fold")
        return self._fold

    @property
    def manifest(self) -> Manifest:
        """The corpus without its damaged clips."""
        return self._read()[0]

    @property
    def audio(self) -> DecodedAudio:
        """The decoded audio of the corpus."""
        return self._read()[1]

    @property
    def class_counts(self) -> list[int]:
        """Training clips per class."""
        return self.fold.class_counts("train")

    @property
    def group_values(self) -> Mapping[str, list[str]]:
        """Attributes to report by and the values that occur."""
        return {
            name: values for name, values in group_values(self.manifest.utterances).items() if 2 <= len(values) <= 12 and name != "split"
        }

    def add_unlabelled(self, fold: ProtocolFold) -> ProtocolFold:
        """Give a fold whose training split holds the unlabelled clips too; its fingerprint, which stands for the protocol, stays."""
        audio = self.audio  # reads the folder
        clips = () if self._unlabelled is None else self.transcripts.replace_texts(self._unlabelled.list_usable(audio.audio_hashes))
        clips = tuple(clip for clip in clips if has_text(clip) or self.transcripts.on_missing != "skip")
        return replace(fold, train=fold.train + clips) if clips else fold

    def audit(self) -> LeakageAudit:
        """Look for speakers, files and identical audio that cross the fold's splits."""
        fold = self._fold or self.add_unlabelled(self.protocol.choose_fold(self.manifest, self.label_set, self.fold_number))
        return audit_fold(fold, self.audio.audio_hashes)

    def dataset(self, split: str) -> SpeechDataset:
        """Give the clips of ``train``, ``validation`` or ``test``."""
        return self._make_dataset(self.fold.split(split))

    def train_dataloader(self, shared: bool = True) -> DataLoader[Any]:
        """Shuffled (or balanced) training batches; the order is a function of seed and epoch.

        Args:
            shared: Whether each process of the trainer gets its share of a batch; else this one gets all of it.

        Raises:
            ConfigError: If batches cannot be shared equally.
        """
        return self._loader("train", training=True, shared=shared)

    def plain_train_dataloader(self) -> DataLoader[Any]:
        """Training clips once each, whole, in manifest order, all of them in every process: for statistics."""
        return self._loader("train", training=False, shared=False)

    def drawn_dataloader(self, epoch: int, ids: Collection[str]) -> DataLoader[Any]:
        """Some training clips once each as they are drawn in an epoch, short ones first: for answers that are stored."""
        chosen = [u for u in self.fold.train if u.id in ids]
        dataset = self._make_dataset(chosen)
        sampler = KeyedBatchSampler(dataset.lengths, self.evaluation_batch_size, self.seed, shuffle=False, bucket_by_length=True)
        sampler.set_epoch(epoch)
        return self._load(dataset, sampler, training=True)

    @property
    def joins_unlabelled(self) -> bool:
        """Whether unlabelled clips join training."""
        return self._unlabelled is not None

    @property
    def crops_training_clips(self) -> bool:
        """Whether a training clip is longer than ``clip_samples``, so that another part of it is heard in each epoch."""
        return self.clip_samples is not None and any(self.audio.length_of(u.id) > self.clip_samples for u in self.fold.train)

    def val_dataloader(self, shared: bool = True) -> DataLoader[Any] | list[Any]:
        """Validation batches; none after ``refit``. ``shared`` as in ``train_dataloader``."""
        return self._loader("validation", training=False, shared=shared) if self.fold.validation_set else []

    def test_dataloader(self) -> DataLoader[Any]:
        """Test batches."""
        return self._loader("test", training=False)

    def predict_dataloader(self) -> DataLoader[Any]:
        """Test batches."""
        return self.test_dataloader()

    def _make_dataset(self, clips: Sequence[Utterance]) -> SpeechDataset:
        if self.features and not self.features.holds(u.id for u in clips):
            self.extract_features()  # nobody asked for them beforehand: a script of the user's own
        return SpeechDataset(clips, self.audio, self.label_set, self.seed, self.features)

    def _loader(self, split: str, training: bool, shared: bool = True) -> DataLoader[Any]:
        dataset = self.dataset(split)
        rank, processes = (self.trainer.global_rank, self.trainer.world_size) if shared and self.trainer else (0, 1)
        if training:
            check_shares(self.batch_size, processes)
        sampler = KeyedBatchSampler(
            dataset.lengths,
            self.batch_size if training else self.evaluation_batch_size,
            seed=self.seed,
            shuffle=training,
            bucket_by_length=self.bucket_by_length and training,
            balance=self.balance if training else "none",
            class_indices=dataset.class_indices,
            rank=rank,
            world_size=processes,
            key_epochs=self.key_epochs if training else None,
        )
        return self._load(dataset, sampler, training)

    def _load(self, dataset: SpeechDataset, sampler: KeyedBatchSampler, training: bool) -> DataLoader[Any]:
        length, padding = (self.clip_samples, self.padding) if training else self.evaluation_length
        return ResumableLoader(
            dataset,
            sampler,
            collate_fn=SpeechCollation(length, padding, random_crop=training, class_names=self.label_set.labels),
            num_workers=self.workers,
            persistent_workers=False,
            pin_memory=torch.cuda.is_available(),
        )

    def _read(self) -> tuple[Manifest, DecodedAudio]:
        if self._manifest is None or self._audio is None:
            manifest = self.corpus.read_manifest()
            audio = decode_corpus(manifest.utterances, self.sample_rate_hz, self.cache_dir, self.progress)
            if audio.faults and self.on_bad_audio == "error":
                raise bad_audio_error(audio.faults, len(manifest.utterances))
            manifest = manifest.without(audio.faults)
            if getattr(self.corpus, "is_unlabelled", False):
                manifest, audio = self._leave_out_silence(manifest, manifest.utterances, audio)
            others = () if self._unlabelled is None else self._unlabelled.utterances
            self._manifest = self.transcripts.apply(manifest, others)
            self._audio = audio
            if self._unlabelled is not None:
                self._add_unlabelled_audio(self._unlabelled, self._manifest, audio)
        return self._manifest, self._audio

    def _add_unlabelled_audio(self, unlabelled: UnlabelledClips, manifest: Manifest, audio: DecodedAudio) -> None:
        extra = decode_corpus(unlabelled.utterances, self.sample_rate_hz, self.cache_dir, self.progress)
        manifest, extra = self._leave_out_silence(manifest, unlabelled.utterances, extra)
        self._manifest = unlabelled.tell(manifest, extra)
        self._audio = audio.join(extra)

    def _leave_out_silence(self, manifest: Manifest, clips: Sequence[Utterance], audio: DecodedAudio) -> tuple[Manifest, DecodedAudio]:
        empty = find_empty(clips, audio)
        manifest = replace(manifest, notes=(*manifest.notes, *describe_empty(empty, self.on_unlabelled_silence)))
        return (manifest, audio) if self.on_unlabelled_silence == "keep" else (manifest.without(empty), audio.without(empty))
