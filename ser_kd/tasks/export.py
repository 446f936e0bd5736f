"""ser-kd export: turn a finished run into model files from raw waveform to answer, and sign them off against the trained model."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

from omegaconf import DictConfig

from ser_kd.contracts.errors import ConfigError
from ser_kd.contracts.export_record import CARD, EXPORT_FOLDER, SIGN_OFF, SIGN_OFF_PAGE
from ser_kd.contracts.suggestions import suggest
from ser_kd.deploy.hub import check_target, push_files
from ser_kd.deploy.model_metadata import PRECISIONS
from ser_kd.runtime import console
from ser_kd.runtime.composition import compose
from ser_kd.runtime.faults import raise_faults
from ser_kd.runtime.validation import check_config

METHODS = ("auto", "static", "dynamic")
NOT_SIGNED_OFF = 1

_ONE_PRECISION = re.compile(r"precision=(\w+)")


def run(arguments: list[str]) -> int:
    """Export a run.

    Args:
        arguments: ``key=value`` overrides of ``conf/export.yaml``.

    Returns:
        0 where every file is signed off, else 1.

    Raises:
        ConfigError: If a value cannot be.
        DataError: If there is no finished run, its corpus is another now, or a file cannot be written.
    """
    config = compose("export", [_put_in_brackets(word) for word in arguments])
    check_config(config)
    _check_values(config)
    from ser_kd.reports.sign_off import tell_sign_off  # late: torch and lightning take seconds to import
    from ser_kd.tasks.run_export import ExportRequest, export_run

    request = ExportRequest(
        run=Path(config.run),
        checkpoint=config.checkpoint,
        precisions=tuple(dict.fromkeys(config.precision)),
        out=Path(config.out) if config.out else Path(config.run) / EXPORT_FOLDER,
        calibrate=config.calibrate,
        method=config.method,
        calibration_clips=config.calibration_clips,
        minimum_s=config.minimum_s,
        licences=tuple(config.licences),
        gates={precision: dict(bounds or {}) for precision, bounds in config.gates.items()},
        moved={name: value for name, value in config.corpus.items() if value is not None},
        cache_dir=config.paths.cache,
        command=shlex.join(["ser-kd", "export", *arguments]),
    )
    record = export_run(request)
    console.show()
    console.show(tell_sign_off(record))
    console.show(f"files, sign-off and model card: {request.out}")
    if not record.signed_off:
        return NOT_SIGNED_OFF
    if config.push_to_hub:
        names = [file.file for file in record.files]
        console.show(f"pushed to {push_files(request.out, [*names, CARD, SIGN_OFF, SIGN_OFF_PAGE], config.push_to_hub)}")
    return 0


def _put_in_brackets(word: str) -> str:
    """Make a list of a single precision (``precision=int8``); other words stay."""
    single = _ONE_PRECISION.fullmatch(word)
    return f"precision=[{single[1]}]" if single else word


def _check_values(config: DictConfig) -> None:
    """Check what needs no run.

    Raises:
        ConfigError: All faults together.
    """
    faults = [
        ConfigError(f"'{key}' is a list.", expected=f"{key}=[…]", got=str(config[key]), remedy=f"put it in brackets: {key}=[{config[key]}]")
        for key in ("precision", "licences")
        if isinstance(config[key], str)
    ]
    if not config.precision:
        faults.append(
            ConfigError(
                "No precision is chosen.", expected=", ".join(PRECISIONS), got="precision=[]", remedy="such as precision=[fp32,int8]"
            )
        )
    for key, given, choices in (
        ("precision", [] if isinstance(config.precision, str) else list(config.precision), PRECISIONS),
        ("checkpoint", [config.checkpoint], ("best", "last")),
        ("method", [config.method], METHODS),
    ):
        for value in map(str, given):
            if value not in choices:
                remedy = suggest(value, choices) or f"correct {key}"
                faults.append(ConfigError(f"Unknown {key} '{value}'.", expected=f"one of {', '.join(choices)}", got=value, remedy=remedy))
    for key in ("calibration_clips", "minimum_s"):
        if not config[key] > 0:
            faults.append(ConfigError(f"'{key}' must be positive.", expected="a number above 0", got=str(config[key]), remedy=f"set {key}"))
    if config.push_to_hub:
        try:
            check_target(config.push_to_hub)
        except ConfigError as fault:
            faults.append(fault)
    raise_faults(faults)
