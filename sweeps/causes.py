"""What a process that died has left to say: Ray's own last error, and the last lines of the worker's stderr."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterable
from typing import Any

from sweeps import probe, ray_internals
from sweeps.failures import behind, is_of_a_lost_process, preemption_in
from sweeps.head import ask
from sweeps.preflight import living_nodes
from sweeps.words import clean

ANSWERS_WITHIN_S = 20.0
LONGEST = 300  # characters of either


def preempted(trial: Any, node: str) -> str:
    """Why the end of a Tune trial's process was none of its own doing; "" else. node: Ray's id of where it ran."""
    return preemption(_last_error(trial), [node])


def preemption(error: BaseException | None, nodes: Iterable[str]) -> str:
    """Why a process that ended with this error was taken away; "" else. nodes: Ray's ids of where it, or any, ran.

    Ray says of a machine that has just gone only that a process there cannot be reached.
    """
    why = preemption_in(error)
    if not why and is_of_a_lost_process(error) and any(is_gone(node) for node in nodes if node):
        why = "its machine does not answer any more"
    return clean(why)


def is_gone(node: str) -> bool:
    """Whether a machine is no part of the cluster any more, or will soon be found to be none."""
    with contextlib.suppress(Exception):  # Ray's own, of many kinds: then nobody knows
        facts = living_nodes().get(node)
        return facts is None or ask((facts["NodeManagerAddress"], int(facts["NodeManagerPort"]))) != "an answer"
    return False


def of_trial(trial: Any) -> str:
    """Why a Tune trial's process ended the last time, in a line; "" where nobody said."""
    error = _last_error(trial)
    if error is None:
        return ""
    inner = behind(error)
    text = " ".join(str(inner).split())
    pid, address = (
        found[1] if (found := re.search(rf"\b{name}: ([0-9a-f.:]+)", text)) else "" for name in ("pid", "ip")
    )
    detail = re.search(r"Worker exit detail: (.*?)(?: The worker may have exceeded|$)", text)
    said = detail[1] if detail else f"{type(inner).__name__}: {text}"
    where = f"on {address}, " if address else ""
    words = last_words(address, int(pid)) if pid.isdigit() else ""
    return clean(f"{where}{said[:LONGEST]}" + (f"; its last words: {words[-LONGEST:]}" if words else ""))


def _last_error(trial: Any) -> BaseException | None:
    """As Tune has kept it beside the trial; it is not yet where `trial.get_error` looks."""
    import pickle

    with contextlib.suppress(Exception):  # not there, or of a class that this process does not know
        if (kept := ray_internals.error_file_of(trial)) is not None:
            with kept.open("rb") as file:
                found = pickle.load(file)  # of this command's own folder
            return found if isinstance(found, BaseException) else None
    return None


def last_words(address: str, pid: int) -> str:
    """The end of what a worker process of that node wrote to its stderr; "" where that cannot be had."""
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    with contextlib.suppress(Exception):  # the machine is gone, and what was said there
        nodes = [node for node in living_nodes().values() if address in ("", node.get("NodeManagerAddress"))]
        ray.cloudpickle.register_pickle_by_value(probe)
        try:
            for node in nodes:
                strategy = NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)
                ask = ray.remote(probe.stderr_of).options(num_cpus=0, max_retries=0, scheduling_strategy=strategy)
                if words := ray.get(ask.remote(pid), timeout=ANSWERS_WITHIN_S):
                    return str(words)
        finally:
            ray.cloudpickle.unregister_pickle_by_value(probe)
    return ""
