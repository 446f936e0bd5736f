"""Words are split into keys and bare ones."""

from ser_kd.runtime.plain_words import split_plain_words


def test_keys_bare_words_and_faults():
    values, bare, faults = split_plain_words("verb", ["a", "out=x/y", "otu=1", "out=2"], ("out",))
    assert values == {"out": "x/y"}
    assert bare == ["a"]
    assert [fault.problem for fault in faults] == ["Unknown key 'otu'.", "'out' is given twice."]


def test_a_path_with_an_equals_sign_is_a_bare_word():
    values, bare, faults = split_plain_words("verb", ["runs/fold=0/seed=1/m.onnx", "./a=b.wav", "out=fold=0/x"], ("out",))
    assert values == {"out": "fold=0/x"}
    assert bare == ["runs/fold=0/seed=1/m.onnx", "./a=b.wav"]
    assert faults == []
