"""From a node of the configuration to the object it describes."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import Any

from hydra.errors import InstantiationException
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf

from ser_kd.contracts.errors import ConfigError, SerKdError


def build(node: Any, **late: Any) -> Any:
    """Build a node with ``_target_`` and everything below it.

    Args:
        node: A node of the configuration; a list or dict of nodes gives a list or dict of objects; null gives None.
        late: Parameters of the outermost target that only the program knows; they are handed over as they are, never copied.

    Returns:
        The object; for ``_partial_: true`` a function that still waits for its other arguments.

    Raises:
        ConfigError: If a target does not take its keys or refuses a value, naming the place in the configuration.
        SerKdError: Whatever of ours was raised while building, as it is.
    """
    if node is None:
        return None
    place = str(node._get_full_key("")) if isinstance(node, DictConfig) else ""
    try:
        if not isinstance(node, Mapping) or "_target_" not in node:
            return instantiate(node, _convert_="all")
        stays_partial = bool(node.get("_partial_", False))
        # As a partial first: Hydra would turn late dataclasses into configuration and wrap what the call raises.
        maker: Callable[..., Any] = instantiate(node, _convert_="all", _partial_=True)
        return functools.partial(maker, **late) if stays_partial else maker(**late)
    except SerKdError:
        raise
    except InstantiationException as fault:
        cause = fault.__cause__
        if isinstance(cause, SerKdError):
            raise cause from cause.__cause__
        if cause is not None and not isinstance(cause, (TypeError, ValueError, ImportError)):
            raise cause from cause.__cause__
        raise _refused(fault, place, node) from fault
    except (TypeError, ValueError) as fault:
        raise _refused(fault, place, node) from fault


def build_student(node: Any, classes: int, dimensions: bool) -> Any:
    """Build a student (or teacher) that answers with what a protocol asks for.

    Args:
        node: ``student`` of the configuration.
        classes: Number of classes, 0 where there are none.
        dimensions: Whether it answers with arousal, dominance and valence.
    """
    return build(node, classes=classes, **({"dimensions": True} if dimensions else {}))


def _refused(fault: Exception, place: str, node: Any) -> ConfigError:
    cause = fault.__cause__ if isinstance(fault, InstantiationException) and fault.__cause__ else fault
    lines = [line.strip() for line in str(fault).splitlines() if line.strip()]
    named = [line.removeprefix("full_key:").strip() for line in lines if line.startswith("full_key:")]
    place = (named[-1] if named else place) or "the configuration"
    inner = OmegaConf.select(node, place.removeprefix(f"{node._get_full_key('')}.")) if isinstance(node, DictConfig) and named else node
    target = inner.get("_target_") if isinstance(inner, Mapping) else None
    reason = lines[0] if cause is fault and isinstance(fault, InstantiationException) else f"{type(cause).__name__}: {cause}"
    return ConfigError(
        f"'{place}' cannot be built.",
        expected=f"what {target} takes" if target else "a node with _target_ that can be built",
        got=" ".join(reason.split()),
        remedy=f"compare the keys below {place} with the parameters of {target or 'its _target_'}",
    )
