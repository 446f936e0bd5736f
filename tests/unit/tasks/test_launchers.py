from __future__ import annotations

import pytest
from omegaconf import OmegaConf

from ser_kd.contracts.errors import ConfigError
from ser_kd.sweeps.launchers.settings import Demand, LocalSettings, RaySettings, SlurmSettings
from ser_kd.tasks.launched_training import is_of_several_processes, join_demands, read_demand
from ser_kd.tasks.launcher_words import take_launcher_words
from ser_kd.tasks.launchers import Devices, count_places, find_devices, plan_launch, share_devices

CPU, GPUS = Devices((), 8), Devices(("4", "5", "6", "7"), 8)
ONE, TWO = Demand(), Demand(devices=2)


def test_words_on_the_launcher_are_taken_out() -> None:
    words = ["launcher=slurm", "fold=0", "launcher.partition=gpu", "launcher.timeout_min=60", "launcher.mem_gb=7.5",
             "launcher.sbatch.mail-type=END", "launcher.sbatch.exclusive=true", "launcher.gpus_per_node=0", "file.yaml"]  # fmt: skip
    settings, others = take_launcher_words(words)
    further = {"mail_type": "END", "exclusive": "true"}
    assert settings == SlurmSettings(partition="gpu", timeout_min=60, mem_gb=7.5, gpus_per_node=0, sbatch=further)
    assert others == ["fold=0", "file.yaml"]
    assert take_launcher_words([]) == (LocalSettings(), [])
    assert take_launcher_words(["launcher=ray", "launcher.gpus_per_job=0.5"])[0] == RaySettings(gpus_per_job=0.5)


@pytest.mark.parametrize(
    ("words", "messages"),
    [
        (["launcher=slrum"], ["Unknown launcher", "did you mean 'slurm'?"]),
        (["lancher=ray"], ["Unknown key 'lancher'", "did you mean 'launcher'?"]),
        (["launchers.partition=x"], ["did you mean 'launcher.partition'?"]),
        (["launcher=slurm", "launcher.partion=gpu"], ["did you mean 'launcher.partition'?"]),
        (["launcher.partition=gpu"], ["it belongs to launcher=slurm"]),
        (
            ["launcher=slurm", "launcher.timeout_min=soon", "launcher.mem_gb=-1"],
            ["2 faults", "a whole number above 0", "launcher.mem_gb=-1"],
        ),
        (["launcher=slurm", "launcher.nodes=0"], ["launcher.nodes cannot be used"]),
        (["launcher=slurm", "launcher.cluster=pbs"], ["Unknown cluster"]),
        (["launcher=slurm", "launcher.sbatch=x"], ["no such key", "launcher.sbatch.KEY"]),
        (["launcher=ray", "launcher.cpus_per_job=inf"], ["cannot be used"]),
        (["launcher=ray", "launcher=local"], ["given twice"]),
    ],
)
def test_what_cannot_be_a_launcher_is_told(words: list[str], messages: list[str]) -> None:
    with pytest.raises(ConfigError) as fault:
        take_launcher_words(words)
    assert all(message in str(fault.value) for message in messages), fault.value


def test_places_follow_devices() -> None:
    assert count_places(CPU, ONE, LocalSettings()) == 8
    assert count_places(CPU, TWO, LocalSettings()) == 4
    assert count_places(GPUS, ONE, LocalSettings()) == 4
    assert count_places(GPUS, TWO, LocalSettings()) == 2
    assert count_places(GPUS, ONE, LocalSettings(workers_per_gpu=2)) == 8
    assert plan_launch(LocalSettings(), [ONE], None, 3, "sweep", GPUS).workers == 3
    assert plan_launch(LocalSettings(), [ONE], None, 30, "sweep", GPUS).workers == 4
    assert plan_launch(LocalSettings(), [ONE], 2, 30, "sweep", CPU).workers == 2


@pytest.mark.parametrize(
    ("devices", "demand", "workers", "messages"),
    [
        (CPU, ONE, 9, ["more workers than devices", "8 cores", "set workers=8"]),
        (CPU, TWO, 5, ["workers=4 or less", "2 for each training"]),
        (GPUS, ONE, 5, ["4 GPUs", "launcher.workers_per_gpu=2"]),
        (GPUS, Demand(devices=8), None, ["more devices than there are", "trainer.devices=4"]),
        (GPUS, Demand(nodes=2), None, ["several nodes", "launcher=slurm"]),
    ],
)
def test_more_than_there_is_is_refused(devices: Devices, demand: Demand, workers: int | None, messages: list[str]) -> None:
    with pytest.raises(ConfigError) as fault:
        plan_launch(LocalSettings(), [demand], workers, 30, "sweep", devices)
    assert all(message in str(fault.value) for message in messages), fault.value


def test_each_worker_has_its_own_gpus_and_its_share_of_cores() -> None:
    shared = share_devices(2, GPUS, TWO, LocalSettings())
    assert [shared(number)["CUDA_VISIBLE_DEVICES"] for number in range(2)] == ["4,5", "6,7"]
    assert shared(0)["OMP_NUM_THREADS"] == "2"
    doubled = share_devices(8, GPUS, ONE, LocalSettings(workers_per_gpu=2))
    assert [doubled(number)["CUDA_VISIBLE_DEVICES"] for number in (0, 3, 4, 7)] == ["4", "7", "4", "7"]
    assert share_devices(3, CPU, ONE, LocalSettings())(2) == {"OMP_NUM_THREADS": "2", "MKL_NUM_THREADS": "2"}


def test_gpus_are_named_as_the_user_named_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.device_count", lambda: 2)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "5,3")
    assert find_devices(ONE).gpus == ("5", "3")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES")
    assert find_devices(ONE).gpus == ("0", "1")
    assert find_devices(Demand(accelerator="cpu")).gpus == ()


@pytest.mark.parametrize(
    ("trainer", "devices", "apart"),
    [
        ({"devices": 1, "accelerator": "cpu"}, 1, False),
        ({"devices": "auto"}, None, False),
        ({"devices": "${oc.env:SLURM_NTASKS_PER_NODE,2}"}, None, False),
        ({"devices": -1, "strategy": "auto"}, None, False),
        ({"devices": 2}, 2, True),
        ({"devices": [0, 3]}, 2, True),
        ({"devices": 1, "num_nodes": 2}, 1, True),
        ({"devices": 1, "strategy": "ddp"}, 1, True),
        ({"devices": 1, "strategy": {"_target_": "lightning.pytorch.strategies.DDPStrategy"}}, 1, True),
    ],
)
def test_what_a_training_asks_for(trainer: dict, devices: int, apart: bool) -> None:
    config = OmegaConf.create({"trainer": trainer})
    OmegaConf.set_struct(config, True)  # as a composed one is
    assert read_demand(config).devices == devices
    assert is_of_several_processes(config) == apart


def test_what_is_enough_for_all() -> None:
    assert join_demands([Demand(1, 1, "cpu"), Demand(2, 1, "gpu")]) == Demand(2, 1, "auto")
    assert join_demands([Demand(1, 2, "gpu"), Demand(None, None, "gpu")]) == Demand(1, 2, "gpu")
    assert join_demands([Demand(None, None)]) == Demand(None, None)
    assert count_places(GPUS, Demand(None, None), LocalSettings()) == 4


def test_trainings_of_unlike_sizes_are_no_jobs_of_one_kind() -> None:
    pytest.importorskip("submitit")
    with pytest.raises(ConfigError, match="different numbers of processes"):
        plan_launch(SlurmSettings(), [ONE, TWO], None, 2, "cross-validate", CPU)


def test_without_the_extra_it_is_told_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ser_kd.runtime.extras.find_missing_modules", lambda extra: {"slurm": ["submitit"], "ray": ["ray"]}.get(extra, []))
    for settings, extra in ((SlurmSettings(), "slurm"), (RaySettings(), "ray")):
        with pytest.raises(ConfigError, match=rf'pip install "ser-kd\[{extra}\]"'):
            plan_launch(settings, [ONE], None, 2, "sweep", CPU)


def test_without_slurm_it_is_told_where_to_go(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("submitit")
    monkeypatch.setattr("shutil.which", lambda name: None)
    with pytest.raises(ConfigError, match="login node"):
        plan_launch(SlurmSettings(), [ONE], None, 2, "sweep", CPU)
    assert plan_launch(SlurmSettings(cluster="local"), [ONE], None, 2, "sweep", CPU).workers == 2
