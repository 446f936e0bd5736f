import csv
from collections import Counter

import pytest
import soundfile

from ser_kd.contracts.errors import ConfigError, DataError
from ser_kd.data.corpora import demo
from ser_kd.data.corpora.demo import COLUMNS, DemoCorpus
from ser_kd.data.demo_speech import EMOTION_CUES
from ser_kd.data.manifest import Corpus
from ser_kd.storage.hashing import hash_file

pytest.importorskip("espeakng_loader")


def files_of(folder):
    return {path.relative_to(folder).as_posix(): hash_file(path) for path in folder.rglob("*") if path.is_file()}


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    corpus = DemoCorpus(tmp_path_factory.mktemp("demo"), speakers=4, clips_per_emotion=1)
    corpus.read_manifest()
    return corpus


def test_it_is_a_corpus_with_seven_classes_in_their_order(corpus):
    assert isinstance(corpus, Corpus)
    assert corpus.label_sets[corpus.default_label_set].labels == ("neutral", "happy", "sad", "angry", "fear", "disgust", "surprise")


def test_counts_sessions_and_genders_are_balanced(corpus):
    manifest = corpus.read_manifest()
    assert manifest.corpus == "demo"
    assert len(manifest.utterances) == 4 * 7
    assert Counter(u.emotion for u in manifest.utterances) == dict.fromkeys(EMOTION_CUES, 4)
    assert Counter((u.session, u.groups["gender"]) for u in manifest.utterances) == {
        (session, gender): 7 for session in ("ses1", "ses2") for gender in ("female", "male")
    }
    by_session = {s: {u.speaker for u in manifest.utterances if u.session == s} for s in ("ses1", "ses2")}
    assert by_session == {"ses1": {"spk01", "spk02"}, "ses2": {"spk03", "spk04"}}


def test_the_full_corpus_is_counted_without_being_spoken(tmp_path, monkeypatch):
    monkeypatch.setattr(demo, "synthesise_clip", lambda *_: None)
    monkeypatch.setattr(demo, "write_wav", lambda *_: None)
    manifest = DemoCorpus(tmp_path).read_manifest()
    assert len(manifest.utterances) == 10 * 7 * 12
    assert Counter(u.groups["intensity"] for u in manifest.utterances) == {"normal": 420, "strong": 420}
    assert len({u.session for u in manifest.utterances}) == 5


def test_an_utterance_says_everything_that_is_known(corpus):
    utterance = corpus.read_manifest().utterances[0]
    assert utterance.id == "spk01_angry_00"
    assert utterance.path.is_file()
    assert utterance.emotion == "angry"
    assert utterance.text
    assert utterance.groups == {"gender": "female", "intensity": "normal"}
    for value in (utterance.arousal, utterance.dominance, utterance.valence):
        assert value is not None
        assert 0.0 <= value <= 1.0


def test_the_table_lists_every_file_and_no_other(corpus):
    with (corpus.folder / "manifest.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert tuple(rows[0]) == COLUMNS
    assert {row["path"] for row in rows} | {"manifest.csv"} == set(files_of(corpus.folder))
    assert soundfile.info(corpus.folder / rows[0]["path"]).samplerate == 16_000


def test_a_second_call_reads_and_speaks_nothing(corpus, monkeypatch):
    first = corpus.read_manifest()

    def refuse(*_):
        raise AssertionError("spoken again")

    monkeypatch.setattr(demo, "synthesise_clip", refuse)
    again = DemoCorpus(corpus.folder.parent, speakers=4, clips_per_emotion=1).read_manifest()
    assert again == first


def test_the_same_settings_give_the_same_bytes_elsewhere(corpus, tmp_path):
    other = DemoCorpus(tmp_path, speakers=4, clips_per_emotion=1)
    assert files_of(other.generate()) == files_of(corpus.folder)
    fewer = files_of(DemoCorpus(tmp_path, speakers=2, clips_per_emotion=1).generate())
    del fewer["manifest.csv"]  # shorter, as it must be
    assert fewer.items() <= files_of(other.folder).items()


def test_other_settings_have_another_folder(tmp_path):
    folders = {DemoCorpus(tmp_path, 2, 1).folder, DemoCorpus(tmp_path, 2, 2).folder, DemoCorpus(tmp_path, 2, 1, 8_000).folder}
    assert len(folders) == 3


def test_an_interrupted_build_leaves_nothing(tmp_path, monkeypatch):
    corpus = DemoCorpus(tmp_path / "there", 2, 1)
    speak = demo.synthesise_clip
    spoken = []

    def stop_in_the_middle(clip, rate):
        spoken.append(clip.id)
        if len(spoken) == 5:
            raise KeyboardInterrupt
        return speak(clip, rate)

    monkeypatch.setattr(demo, "synthesise_clip", stop_in_the_middle)
    with pytest.raises(KeyboardInterrupt):
        corpus.read_manifest()
    assert list((tmp_path / "there").iterdir()) == []
    monkeypatch.undo()
    assert len(corpus.read_manifest().utterances) == 14


def test_two_builders_may_race(tmp_path):
    slow, fast = DemoCorpus(tmp_path, 2, 1), DemoCorpus(tmp_path, 2, 1)

    def overtake(count, total):
        if count == total:
            fast.generate()

    slow.generate(overtake)
    assert [path.name for path in tmp_path.iterdir()] == [slow.folder.name]
    assert len(slow.read_manifest().utterances) == 14


def test_progress_counts_every_clip(tmp_path):
    seen = []
    DemoCorpus(tmp_path, 2, 1).generate(lambda count, total: seen.append((count, total)))
    assert seen == [(count, 14) for count in range(1, 15)]


def test_a_folder_that_cannot_be_written_is_told(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(DataError, match="cannot be written") as caught:
        DemoCorpus(tmp_path / "file" / "under", 2, 1).read_manifest()
    assert "corpus.root" in caught.value.remedy


@pytest.mark.parametrize("wrong", [{"speakers": 3}, {"speakers": 0}, {"clips_per_emotion": 0}, {"sample_rate_hz": 100}])
def test_numbers_that_make_no_corpus_are_refused(tmp_path, wrong):
    with pytest.raises(ConfigError, match=f"cannot have {next(iter(wrong))}="):
        DemoCorpus(tmp_path, **wrong)
