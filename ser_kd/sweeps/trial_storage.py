"""Where a sweep's trials are kept: a file on one machine, a database for many."""

from __future__ import annotations

import os
import random
import re
import time
from pathlib import Path
from typing import Any

from optuna.storages import BaseStorage, JournalStorage, RDBStorage
from optuna.storages.journal import JournalFileBackend
from sqlalchemy import create_engine

from ser_kd.contracts.errors import ConfigError, DataError

_SQLITE, _JOURNAL = (".db", ".sqlite"), (".journal", ".log")
_TRIES = 6
_CONNECT_S = 10
"""Longest wait for a database to answer; the driver's own would be minutes."""


def check_storage(storage: str) -> None:
    """Check that a storage can be one.

    Raises:
        ConfigError: If it is neither a file of a known kind nor a URL.
    """
    if "://" not in storage and Path(storage).suffix not in (*_SQLITE, *_JOURNAL):
        raise ConfigError(
            "This storage cannot be used.",
            expected="FILE.db (SQLite), FILE.journal (journal), or a URL such as postgresql://USER@HOST/NAME",
            got=f"storage={storage}",
            remedy=f"write storage={storage}.db, say",
        )


def check_place(storage: str) -> None:
    """Check that a database answers, or that a file can be written where it shall be; makes and changes nothing.

    Raises:
        ConfigError: If the database's driver is not installed.
        DataError: If it does not answer, or there is no such place.
    """
    if "://" not in storage:
        folder = Path(storage).absolute().parent
        above = next(place for place in (folder, *folder.parents) if place.exists())
        if not above.is_dir() or not os.access(above, os.W_OK | os.X_OK):
            raise tell_unusable(storage, PermissionError(f"{above} is no folder that can be written"))
        return
    try:
        url, options = _address(storage)
        engine = create_engine(url, **options)
        with engine.connect():
            pass
        engine.dispose()
    except ImportError as fault:
        raise _tell_driver(storage, fault) from fault
    except Exception as fault:  # SQLAlchemy's, or whatever the driver raises
        raise tell_unusable(storage, fault) from fault


def open_storage(storage: str) -> BaseStorage:
    """Open a storage, or make it.

    Two processes that meet at an empty database both make its tables, and one of them is told that they exist; it looks again.

    Args:
        storage: ``*.db`` or ``*.sqlite`` (SQLite), ``*.journal`` or ``*.log`` (journal), or a URL such as ``postgresql://…``.

    Raises:
        ConfigError: If it is none of these, or the database's driver is not installed.
        DataError: If it cannot be reached, or holds something else.
    """
    check_storage(storage)
    for attempt in range(_TRIES):
        try:
            return _open_once(storage)
        except ImportError as fault:
            raise _tell_driver(storage, fault) from fault
        except Exception as fault:  # SQLAlchemy's, or whatever the driver raises
            if attempt == _TRIES - 1 or not _is_race(fault):
                raise tell_unusable(storage, fault) from fault
            time.sleep(random.uniform(0.05, 0.3) * (attempt + 1))
    raise tell_unusable(storage, TimeoutError("its tables are still being made"))  # never: the last attempt raises


def address_storage(storage: str) -> str:
    """Give a storage as ``optuna-dashboard`` takes it; a password stays out."""
    if "://" in storage:
        return hide_password(storage)
    return f"sqlite:///{storage}" if Path(storage).suffix in _SQLITE else storage


def hide_password(storage: str) -> str:
    """Give a URL without its password, which belongs neither on a screen nor into a file."""
    return re.sub(r"(://[^:/@]*):.*@", r"\1:***@", storage)


def tell_unusable(storage: str, fault: Exception) -> DataError:
    """Make the error for a storage that cannot be read or written."""
    told = next((line.strip() for line in str(fault).splitlines() if line.strip()), "")
    return DataError(
        "The sweep's storage cannot be used.",
        expected="a storage that Optuna made, or a place where one can be made",
        got=hide_password(f"{storage}: {type(fault).__name__}: {told}"),
        remedy=("start the database" if "://" in storage else "mend what is told, or move the file away")
        + ", or name another storage: storage=FILE.db",
    )


def _tell_driver(storage: str, fault: ImportError) -> ConfigError:
    return ConfigError(
        "The database's driver is not installed.",
        expected="the package that SQLAlchemy names for this kind of URL",
        got=f"storage={hide_password(storage)}: {str(fault).splitlines()[0]}",
        remedy='pip install "ser-kd[postgresql]"' if storage.startswith("postgres") else "install it, or take postgresql://…",
    )


def _address(storage: str) -> tuple[str, dict[str, Any]]:
    """Give the URL as SQLAlchemy takes it, and how it is connected to."""
    # psycopg 3; without a name SQLAlchemy's version decides which driver it is
    url = re.sub(r"^postgres(ql)?://", "postgresql+psycopg://", storage)
    waits = {"connect_args": {"connect_timeout": _CONNECT_S}} if url.startswith("postgresql+psycopg") else {}
    return url, {"pool_pre_ping": True, **waits}


def _open_once(storage: str) -> BaseStorage:
    if "://" in storage:
        url, options = _address(storage)
        return RDBStorage(url, engine_kwargs=options)
    path = Path(storage)
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix in _SQLITE:
        return RDBStorage(f"sqlite:///{path.resolve()}")
    return JournalStorage(JournalFileBackend(str(path)))


def _is_race(fault: Exception) -> bool:
    """Tell whether another process made the tables at the same time."""
    text = str(fault).lower()
    return any(sign in text for sign in ("already exists", "duplicate key", "unique constraint", "database is locked"))
