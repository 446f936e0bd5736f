"""Put signed-off files where others find them: the Hugging Face hub, or a folder."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

from ser_kd.contracts.errors import ConfigError, DataError
from ser_kd.contracts.export_record import SIGN_OFF
from ser_kd.storage.atomic import replace_file


def check_target(target: str) -> None:
    """Check that files can be pushed there, as far as the name tells.

    Raises:
        ConfigError: If it is neither an existing folder, empty or with an earlier export, nor NAME/REPOSITORY.
    """
    place = Path(target).expanduser()
    if place.is_dir() and any(place.iterdir()) and not (place / SIGN_OFF).is_file():
        raise ConfigError(
            "The folder to push to holds other files.",
            expected="an empty folder, or one with an earlier export",
            got=str(place),
            remedy="make a new folder and give it as push_to_hub",
        )
    if not place.is_dir() and (place.is_absolute() or target.count("/") != 1 or target.startswith((".", "~"))):
        raise ConfigError(
            "There is nowhere to push the files to.",
            expected="an existing folder, or NAME/REPOSITORY on the Hugging Face hub",
            got=target,
            remedy="make the folder first, or correct push_to_hub",
        )


def push_files(folder: Path, names: Sequence[str], target: str) -> str:
    """Copy an export's files to a folder, or upload them to a repository on the hub.

    Args:
        folder: Of the export.
        names: Files within it.
        target: An existing folder, or ``NAME/REPOSITORY``; a missing repository is made, private.

    Returns:
        Where they lie now.

    Raises:
        ConfigError: If the target is neither.
        DataError: If the hub cannot be reached or refuses.
    """
    check_target(target)
    place = Path(target).expanduser()
    if place.is_dir():
        for name in names:
            with replace_file(place / name) as part:
                shutil.copyfile(folder / name, part)
        return str(place)
    from huggingface_hub import HfApi  # late: it is needed by nobody who only exports

    api = HfApi()
    try:
        api.create_repo(target, private=True, exist_ok=True)
        api.upload_folder(repo_id=target, folder_path=folder, allow_patterns=list(names), commit_message="Signed-off export of ser_kd")
    except Exception as fault:  # the hub's own errors, and those of the connection below
        raise DataError(
            "The files could not be pushed to the hub.",
            expected=f"write access to {target}",
            got=str(fault).strip().partition("\n")[0][:300],
            remedy="log in (hf auth login), check the name, and leave HF_HUB_OFFLINE unset; the files themselves are made and signed off",
        ) from fault
    return f"https://huggingface.co/{target}"
