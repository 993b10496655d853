"""Ray's own look at a cluster's file, with what it prints kept off the screen."""

from __future__ import annotations

import copy
import logging
import os
from collections.abc import Hashable
from contextlib import redirect_stderr, redirect_stdout
from typing import Any

from sweeps import ray_internals


def objection(config: dict[str, Any]) -> tuple[tuple[Hashable, ...], str] | None:
    """What Ray would refuse `config` for: where in it, and why; None where it takes it.

    As `ray up` does, it fills defaults in first, and stops at the first thing that is wrong. The path of something that
    the defaults brought in leads nowhere in the file.
    """
    logger = logging.getLogger("ray.autoscaler")
    level = logger.level
    logger.setLevel(logging.ERROR)  # it says, too, which defaults it fills in
    try:
        with open(os.devnull, "w") as nowhere, redirect_stdout(nowhere), redirect_stderr(nowhere):  # what it prints
            ray_internals.refuse_cluster_file(copy.deepcopy(config))
    except Exception as error:
        if hasattr(error, "absolute_path"):  # jsonschema's
            return tuple(error.absolute_path), str(getattr(error, "message", error))
        return (), " ".join(str(error).split()) or type(error).__name__
    finally:
        logger.setLevel(level)
    return None
