"""Every foreign library has its room, so that replacing one touches one folder; light parts stay free of heavy ones."""

import ast
import json
import subprocess
import sys

import pytest

ROOMS: dict[str, tuple[str, ...]] = {
    "espeakng_loader": ("data/espeak.py",),
    "huggingface_hub": ("storage/downloads.py", "deploy/"),
    "hydra": ("runtime/", "tasks/"),
    "jinja2": ("reports/",),
    "lightning": ("data/", "distill/", "runtime/", "tasks/"),
    "markupsafe": ("reports/",),
    "matplotlib": ("reports/",),
    "omegaconf": ("runtime/", "tasks/"),
    "onnx": ("deploy/",),
    "onnxruntime": ("deploy/",),
    "onnxscript": ("deploy/",),
    "opensmile": ("frontends/egemaps.py",),
    "optuna": ("sweeps/",),
    "sqlalchemy": ("sweeps/trial_storage.py",),  # a dependency of optuna
    "pandas": ("reports/",),
    "ray": ("sweeps/launchers/",),
    "rich": ("runtime/",),
    "safetensors": ("storage/",),
    "scipy": ("data/", "functional/", "frontends/", "reports/", "storage/mat_files.py"),
    "sklearn": ("frontends/enhancement.py",),
    "soundfile": ("storage/",),
    "soxr": ("storage/",),
    "submitit": ("sweeps/launchers/",),
    "timm": ("models/encoders/",),
    "torchaudio": ("frontends/", "transforms/"),
    "torchmetrics": ("metrics/",),
    "torchvision": ("models/encoders/",),
    "transformers": ("models/encoders/",),
    "wandb": ("runtime/", "sweeps/", "reports/"),
    "yaml": ("runtime/",),
}
"""Library -> the places below ``ser_kd/`` where it may be imported; numpy and torch may be anywhere that is not torch-free."""

EVERYWHERE = {"ser_kd", "numpy", "torch", *sys.stdlib_module_names}

BLOCKED = ("torch", "lightning", "hydra", "transformers")

TORCH_FREE = (
    "contracts/errors.py",
    "contracts/emotions.py",
    "contracts/records.py",
    "contracts/cross_corpus_record.py",
    "contracts/benchmark_record.py",
    "contracts/robustness_record.py",
    "storage/audio_files.py",
    "storage/atomic.py",
    "storage/hashing.py",
    "frontends/egemaps.py",
    "data/feature_extraction.py",
    "deploy/predictor.py",
    "reports/",
    "__main__.py",
    "tasks/predict.py",
    "tasks/report.py",
    "tasks/compare.py",
    "tasks/doctor.py",
    "tasks/list.py",
    "runtime/console.py",
    "runtime/paths.py",
)
"""Places that import with torch, lightning, hydra and transformers blocked."""


def test_each_foreign_library_stays_in_its_rooms(sources):
    wrong = []
    for source in sources:
        for taken in source.imports():
            library = taken.module.partition(".")[0]
            if library in EVERYWHERE:
                continue
            rooms = ROOMS.get(library)
            if rooms is None:
                wrong.append(f"{source.place}:{taken.line} imports {library}, which has no room yet")
            elif not source.place.startswith(rooms):
                wrong.append(f"{source.place}:{taken.line} imports {library}, which belongs to {', '.join(rooms)}")
    assert not wrong, "\n".join(wrong)


def import_with_blocked(modules: list[str]) -> dict[str, str]:
    """Import modules in a new process in which the heavy libraries cannot be imported; gives module -> fault."""
    program = f"""
import importlib, json, sys

class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {BLOCKED!r}:
            raise ImportError(f"{{name}} is blocked")

sys.meta_path.insert(0, Blocker())
faults = {{}}
for module in {modules!r}:
    try:
        importlib.import_module(module)
    except Exception as fault:
        faults[module] = f"{{type(fault).__name__}}: {{fault}}"
print(json.dumps(faults))
"""
    answer = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    return json.loads(answer.stdout.splitlines()[-1])


def test_the_torch_free_list_imports_without_torch_lightning_hydra_transformers(sources):
    places = {source.place: source.module for source in sources}
    modules = [module for place, module in places.items() if place.startswith(TORCH_FREE)]
    assert {"ser_kd.__main__", "ser_kd.tasks.doctor", "ser_kd.runtime.console", "ser_kd.contracts.records"} <= set(modules)
    assert import_with_blocked(modules) == {}


def test_the_blocker_blocks():
    assert "blocked" in import_with_blocked(["ser_kd.contracts.batch"])["ser_kd.contracts.batch"]


@pytest.mark.parametrize("words", [["--help"], ["--version"], ["train", "--help"], ["trian"]])
def test_help_and_a_wrong_verb_load_neither_torch_nor_lightning(words):
    program = f"""
import sys
sys.argv = ["ser-kd", *{words!r}]
from ser_kd.__main__ import main
main()
print(sorted({{"torch", "lightning", "pandas", "transformers", "matplotlib", "ray", "submitit"}} & set(sys.modules)), file=sys.stderr)
"""
    answer = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert answer.stderr.splitlines()[-1] == "[]"


def test_every_module_says_what_it_is(sources):
    # An empty __init__.py only makes a folder a package.
    silent = [source.place for source in sources if source.tree.body and not ast.get_docstring(source.tree)]
    assert not silent


def test_no_assert_in_the_package(sources):
    found = [f"{source.place}:{node.lineno}" for source in sources for node in ast.walk(source.tree) if isinstance(node, ast.Assert)]
    assert not found, "raise one of contracts/errors.py instead: " + ", ".join(found)
