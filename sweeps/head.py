"""Whether the Ray that a launch stands on is still there: its head's GCS, and the raylet of the driver's own machine.

Without either a driver does not end well by itself: without its raylet it hangs, and without the GCS any call may block
until Ray ends the whole process, a minute later, with MLflow's runs left RUNNING (seen with Ray 2.60). So a thread of
its own asks both ports, and whoever hears first closes the runs and ends the process.
"""

from __future__ import annotations

import socket
import subprocess
import threading
import time
from collections.abc import Callable, Mapping
from typing import ClassVar, Literal, Self

Place = tuple[str, int]  # host, port

LOOK_EVERY_S = 1.0
ANSWERS_WITHIN_S = 3.0
OWN_GONE_S = 4.0  # no process of our own Ray that is gone is ever started again
GONE_S = 30.0  # a cluster's head may come back (KubeRay starts it again); Ray itself gives up after 60 s

Heard = Literal["an answer", "nobody listens", "nothing"]


def places() -> dict[str, Place]:
    """Where the two listen, by name. Ray must be up."""
    import ray

    context = ray.get_runtime_context()
    host, _, port = context.gcs_address.rpartition(":")
    found = {"head": (host.strip("[]"), int(port))}
    for node in ray.nodes():
        if node["NodeID"] == context.get_node_id() and node["Alive"]:
            found["node on this machine"] = (node["NodeManagerAddress"], int(node["NodeManagerPort"]))
    return found


def ask(place: Place) -> Heard:
    """Whether anything listens there. Nothing is heard of a machine that is off, and of one that is too busy."""
    try:
        with socket.create_connection(place, timeout=ANSWERS_WITHIN_S):
            return "an answer"
    except ConnectionRefusedError:
        return "nobody listens"
    except OSError:
        return "nothing"


class Silence:
    """For how long a place has not answered. within_s: after which nobody will listen there again. clock: seconds."""

    def __init__(self, within_s: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._within_s, self._clock = within_s, clock
        self._since: dict[str, float] = {}

    def gone(self, name: str, heard: Heard) -> bool:
        """Take in what was heard this time; whether it counts as gone."""
        if heard == "an answer":
            self._since.pop(name, None)
            return False
        silent_s = self._clock() - self._since.setdefault(name, self._clock())
        return silent_s > (self._within_s if heard == "nobody listens" else GONE_S)


class _Looking:
    """A thread that looks until the block is left."""

    def __init__(self, name: str) -> None:
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._look, name=name, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()

    def _look(self) -> None:
        raise NotImplementedError


class Starting(_Looking):
    """Looks while a Ray of our own starts: the driver, in Ray's C++, waits a minute for a process that has died, and is
    ended with it. Calls `gone` with the name of what died. begun: Ray's processes as they come, by program."""

    PARTS: ClassVar = {"gcs_server": "head", "raylet": "node on this machine"}

    def __init__(
        self,
        begun: Mapping[str, subprocess.Popen[bytes]],
        gone: Callable[[str], None],
        *,
        within_s: float = OWN_GONE_S,
    ) -> None:
        self._begun, self._gone, self._within_s = begun, gone, within_s
        super().__init__("does Ray start")

    def _look(self) -> None:
        while not self._over.wait(LOOK_EVERY_S):
            for program, name in self.PARTS.items():
                process = self._begun.get(program)
                if process is not None and process.poll() is not None:
                    if not self._over.wait(self._within_s):  # Ray itself may say more of it
                        self._gone(name)
                    return


class Head(_Looking):
    """Asks both while a launch goes on, and calls `gone` with the name of the first that is not there any more."""

    def __init__(self, at: Mapping[str, Place], gone: Callable[[str], None], *, within_s: float) -> None:
        self._at, self._gone = at, gone
        self._silence = Silence(within_s)
        super().__init__("is Ray there")

    def _look(self) -> None:
        while not self._over.wait(LOOK_EVERY_S):
            for name, place in self._at.items():
                if self._silence.gone(name, ask(place)) and not self._over.is_set():
                    self._gone(name)
                    return
