"""``ser-kd VERB key=value …``: finds the verb's task and hands over the rest of the command line."""

from __future__ import annotations

import ast
import importlib
import importlib.util
import os
import sys
import traceback
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ser_kd import __version__
from ser_kd.contracts.errors import ConfigError, SerKdError
from ser_kd.contracts.suggestions import suggest
from ser_kd.runtime import console
from ser_kd.runtime.catalog import Catalog, read_key_comments
from ser_kd.runtime.extras import check_extra
from ser_kd.runtime.faults import join_names
from ser_kd.runtime.paths import find_conf_dir, find_experiment_roots

DONE, OUR_FAULT, USER_FAULT, INTERRUPTED = 0, 1, 2, 130
"""Exit codes: done; our fault, or an export that is not signed off; the user's input is wrong; stopped by Ctrl-C."""


@dataclass(frozen=True)
class Verb:
    """One verb of the command line.

    Args:
        line: What it does, in one line.
        example: A command line that works.
        extras: Extras that bring what it imports.
        modules: The modules it really imports, where it needs fewer than the extras bring.
        root: The root file of ``conf/`` whose groups and keys its words choose; None where it has words of its own.
    """

    line: str
    example: str
    extras: tuple[str, ...] = ("train",)
    modules: tuple[str, ...] = ()
    root: str | None = None


VERBS: dict[str, Verb] = {
    "demo": Verb(
        "distil a teacher into a student on speech made offline, and show the table",
        "ser-kd demo",
        extras=("train", "demo"),
        root="train",
    ),
    "prepare": Verb(
        "decode a corpus into the cache, so that training starts at once",
        "ser-kd prepare corpus=ravdess corpus.root=$RAVDESS",
        root="prepare",
    ),
    "check": Verb(
        "prove that no speaker, file or identical audio crosses a split",
        "ser-kd check corpus=ravdess corpus.root=$RAVDESS protocol=ravdess_actors5",
        root="check",
    ),
    "cache-teacher": Verb(
        "put a teacher's answers to training clips on disk, so that trainings need not ask it",
        "ser-kd cache-teacher experiments=wav_to_mfcc/ce_kl corpus.root=$RAVDESS fold=0",
        root="train",
    ),
    "train": Verb(
        "train a teacher, a baseline or a distilled student on one fold",
        "ser-kd train experiments=wav_to_mfcc/ce_kl corpus.root=$RAVDESS fold=0",
        root="train",
    ),
    "cross-validate": Verb(
        "train experiments on all folds and seeds in worker processes, and show mean, spread and intervals",
        "ser-kd cross-validate 'experiments=[wav_to_mfcc/student,wav_to_mfcc/ce_kl]' corpus.root=$RAVDESS folds=all 'seeds=[0,1,2]'",
        root="train",
    ),
    "sweep": Verb(
        "try the parameters of a W&B sweep file in worker processes, with no account, and show the best",
        "ser-kd sweep wav_to_mfcc/temperature_alpha_beta corpus.root=$RAVDESS workers=2",
        root="train",
    ),
    "evaluate": Verb(
        "judge a finished run's checkpoint again, or on all clips of another corpus",
        "ser-kd evaluate run=runs/wav_to_mfcc/ce_kl/IDENTITY/fold=0/seed=0 corpus=emodb corpus.root=$EMODB",
        root="evaluate",
    ),
    "robustness": Verb(
        "judge runs and model files in noise: types and ratios, tables, curves, and where a student passes its teacher",
        "ser-kd robustness run=runs/mlkd_noisy/mlkd/IDENTITY/fold=0/seed=0 noise=synthetic 'snrs_db=[20,10,0]'",
        root="robustness",
    ),
    "export": Verb(
        "turn a finished run into ONNX files from raw waveform to answer, and sign them off",
        "ser-kd export run=runs/wav_to_mfcc/ce_kl/IDENTITY/fold=0/seed=0 precision=[fp32,int8]",
        root="export",
    ),
    "predict": Verb(
        "tell the emotion in recordings with a model file; needs no torch",
        "ser-kd predict model.onnx recordings/ format=jsonl",
        extras=("predict",),
    ),
    "report": Verb(
        "make one page of tables, curves and matrices from the records of runs",
        "ser-kd report",
        modules=("pandas", "matplotlib", "jinja2"),
    ),
    "compare": Verb(
        "tell whether one system is better than another, from records and predictions",
        "ser-kd compare wav_to_mfcc/student wav_to_mfcc/ce_kl",
        modules=("pandas", "scipy"),
    ),
    "benchmark": Verb(
        "measure latency, memory and sizes of models, in torch and onnxruntime, one beside another",
        "ser-kd benchmark runs/wav_to_mfcc/ce_kl/IDENTITY/fold=0/seed=0 teacher=wav_to_mfcc/teacher",
    ),
    "doctor": Verb("look at this machine and the installation, and say what to mend", "ser-kd doctor", extras=()),
    "list": Verb("list experiments, corpora, protocols and other options", "ser-kd list student", extras=()),
}
"""Every verb there is; the task of each is ``ser_kd.tasks.<verb>`` (``_`` for ``-``) with ``run(arguments) -> exit code``."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command line.

    Args:
        arguments: Words behind the program's name; None takes those of the process.

    Returns:
        The exit code: 0 done, 2 the user's input is wrong, 1 our fault, 130 stopped by Ctrl-C.
    """
    words = list(sys.argv[1:] if arguments is None else arguments)
    try:
        return _dispatch(words)
    except SerKdError as fault:
        if os.environ.get("SER_KD_TRACEBACK"):
            traceback.print_exc()
        console.show_error(fault)
        return USER_FAULT
    except KeyboardInterrupt:
        print("\nStopped.", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:
        # The reader (head, less) left: what is still buffered must not raise once more at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return DONE
    except Exception:
        traceback.print_exc()
        print(f"\nThis is our fault, not yours: please report it with the lines above (ser-kd {__version__}).", file=sys.stderr)
        return OUR_FAULT


def _dispatch(words: list[str]) -> int:
    if not words or words[0] in ("-h", "--help", "help"):
        print_help() if len(words) < 2 else print_verb_help(_known_verb(words[1]))
        return DONE
    if words[0] in ("--version", "-V"):
        console.show(f"ser-kd {__version__}")
        return DONE
    name = _known_verb(words[0])
    if any(word in ("-h", "--help") for word in words[1:]):
        print_verb_help(name)
        return DONE
    verb = VERBS[name]
    if verb.extras:
        check_extra(*verb.extras, verb=name, modules=verb.modules)
    return int(importlib.import_module(_task_of(name)).run(words[1:]))


def _task_of(verb: str) -> str:
    return f"ser_kd.tasks.{verb.replace('-', '_')}"


def _known_verb(name: str) -> str:
    if name in VERBS:
        return name
    raise ConfigError(
        f"Unknown verb '{name}'.",
        expected=f"one of {', '.join(VERBS)}",
        got=name,
        remedy=suggest(name, VERBS) or "'ser-kd --help' describes them",
    )


def print_help() -> None:
    """Print what the program does and its verbs."""
    console.show(f"ser-kd {__version__}: knowledge distillation in speech emotion recognition\n")
    console.show("usage: ser-kd VERB [key=value …]\n")
    console.table((f"  {name}", verb.line) for name, verb in VERBS.items())
    console.show("\nFirst steps:      ser-kd doctor, then ser-kd demo")
    console.show("About one verb:   ser-kd VERB --help")
    console.show("What there is:    ser-kd list")
    console.show(
        "Exit codes:       0 done, 2 the input is wrong (one message), 1 our fault or not signed off, 130 stopped, 143 told to stop"
    )


def print_verb_help(name: str) -> None:
    """Print a verb's usage and, where it is composed from ``conf/``, its groups, options and keys."""
    verb = VERBS[name]
    spec = importlib.util.find_spec(_task_of(name))
    # Read, not imported: a task may import torch, and help answers at once.
    docstring = ast.get_docstring(ast.parse(Path(spec.origin).read_text(encoding="utf-8"))) if spec and spec.origin else None
    console.show((docstring or f"ser-kd {name}: {verb.line}").replace("``", ""))
    console.show(f"\nexample: {verb.example}")
    if verb.root:
        check_extra("train", verb=name, modules=("hydra",))
        _print_choices(verb.root)


def _print_choices(root_name: str) -> None:
    from ser_kd.runtime.command_line import read_root_file

    catalog = Catalog(find_conf_dir(), find_experiment_roots())
    root = read_root_file(root_name, catalog)
    console.show("\ngroups, as GROUP=OPTION ('ser-kd list GROUP' describes the options; * is taken where none is chosen):")
    console.table((f"  {group}", _show_options(catalog, group, option)) for group, option in root.groups.items())
    comments = read_key_comments(catalog.conf_dir / f"{root_name}.yaml")
    console.show("\nkeys, as KEY=VALUE (those of an option as GROUP.KEY=VALUE):")
    own = [(key, value) for key, value in root.values.items() if key not in root.groups]
    flat = [(f"{key}.{inner}", part, key) for key, value in own if isinstance(value, dict) for inner, part in value.items()]
    flat = [(key, value, key) for key, value in own if not isinstance(value, dict)] + flat
    console.table((f"  {key}={'null' if value is None else str(value).lower()}", comments.get(outer, "")) for key, value, outer in flat)


def _show_options(catalog: Catalog, group: str, chosen: str | None) -> str:
    shown = join_names(f"{option}*" if option == chosen else option for option in catalog.offers(group.partition("@")[0]))
    if chosen == "???":
        return f"{shown}; one must be chosen"
    return f"{shown}; follows the {chosen.removeprefix('by_').partition('/')[0]}" if chosen and chosen.startswith("by_") else shown


if __name__ == "__main__":
    sys.exit(main())
