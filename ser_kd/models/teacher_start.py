"""A student that starts from blocks of its teacher: named when it is built, filled before step 0."""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn

from ser_kd.contracts.errors import ConfigError
from ser_kd.contracts.interfaces import BlockwiseEncoder
from ser_kd.models.block_map import LayerMap


class TeacherStart(nn.Module):
    """The mark of a model that waits for its teacher's blocks; it has no weights of its own.

    As with pretrained weights the model is built first, so that it can be counted anywhere, and refuses to answer until it is filled
    (``start_from_teacher``) or a checkpoint of our own is loaded, which needs no teacher.

    Args:
        layer_map: Which of the teacher's blocks fill the student's.
        copy_head: Whether its head comes along.
    """

    def __init__(self, layer_map: LayerMap = "even", copy_head: bool = False) -> None:
        super().__init__()
        self.layer_map = layer_map if isinstance(layer_map, str) else tuple(layer_map)
        self.copy_head = copy_head
        self.source = "the teacher"
        self.starts_pretrained = False
        self.awaits_weights = True
        self.register_load_state_dict_post_hook(_end_waiting)

    def missing_weights(self) -> str:
        """Say nothing: a run without a teacher is refused when it asks for the weights."""
        return ""

    def load_weights(self) -> None:
        """Refuse: only ``start_from_teacher`` can fill the model.

        Raises:
            ConfigError: Where it was not.
        """
        self.check_has_weights()

    def keep_random_weights(self) -> None:
        """Wait no longer: random weights do for counts and shapes."""
        self.awaits_weights = False

    def check_has_weights(self) -> None:
        """Check that the model was filled.

        Raises:
            ConfigError: If nobody gave it its weights.
        """
        if self.awaits_weights:
            raise ConfigError(
                "The student is to start from its teacher's blocks, and nobody gave it any.",
                expected="a finished run as its teacher, or a checkpoint of its own",
                got="student.init_from=teacher without a teacher",
                remedy="set teacher=finished_run teacher.experiment=NAME, or student.init_from=random (pretrained where there are weights)",
            )


def _end_waiting(module: nn.Module, incompatible_keys: object) -> None:
    if isinstance(module, TeacherStart):
        module.keep_random_weights()


def start_from_teacher(student: nn.Module, teachers: Sequence[nn.Module]) -> str:
    """Fill a student that waits for its teacher's blocks.

    The front-end is not copied: its statistics are fitted to the training split by the same rule as the teacher's were.

    Args:
        student: A ``SpeechModel``; left alone where it does not wait.
        teachers: The teacher's members.

    Returns:
        What was done, for a record; empty where nothing was.

    Raises:
        ConfigError: If there is not exactly one teacher, it is of another kind, or its layers do not fit.
        DataError: If a tensor has another shape.
    """
    start = getattr(student, "start", None)
    if not isinstance(start, TeacherStart) or not start.awaits_weights:
        return ""
    if len(teachers) != 1:
        raise ConfigError(
            "A student starts from one teacher.",
            expected="one finished run (teacher=finished_run teacher.experiment=NAME, or teacher.run=FOLDER)",
            got=f"{len(teachers)} teachers",
            remedy="choose one, or set student.init_from=random (or pretrained where there are such weights)",
        )
    own, other = getattr(student, "encoder", None), getattr(teachers[0], "encoder", None)
    if not isinstance(own, BlockwiseEncoder):
        raise ConfigError(
            f"{type(own).__name__} has no blocks that could be filled from a teacher's.",
            expected="an encoder of blocks: wav2vec 2.0, HuBERT, WavLM, spectrogram_resnet, spectrogram_transformer",
            got=type(own).__name__,
            remedy="set student.init_from=null, or choose such an encoder",
        )
    chosen = own.copy_blocks(other, start.layer_map)
    told = f"started from blocks {', '.join(map(str, chosen))} of the teacher, and all of its encoder that is no block"
    if start.copy_head:
        _copy_head(student, teachers[0])
        told += ", with its head"
    start.keep_random_weights()
    return told


def _copy_head(student: nn.Module, teacher: nn.Module) -> None:
    own, other = getattr(student, "head", None), getattr(teacher, "head", None)
    shapes = [{} if head is None else {name: tuple(value.shape) for name, value in head.state_dict().items()} for head in (own, other)]
    if own is None or other is None or shapes[0] != shapes[1]:
        raise ConfigError(
            "The teacher's head does not fit the student's.",
            expected=f"a head of shapes {shapes[0]}",
            got=str(shapes[1]),
            remedy="set student.copy_head=false, or choose the teacher's head, pooling and classes",
        )
    own.load_state_dict(other.state_dict())
