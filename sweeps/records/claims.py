"""Who makes a run: a claim that lies with the record in MLflow, kept alive by a heartbeat.

MLflow has no transactions, so a claim is made in an order that needs none: write one's own tag, read all of them, and
withdraw if another living launch is there. Two that meet both withdraw and try again a little later; two that both
believe they have the run cannot be. A dead owner is marked as taken over, and never writes again should it wake.

What stands in a tag is anybody's word: it is parsed, compared and shown, never opened, deleted or run.
"""

from __future__ import annotations

import json
import os
import random
import re
import socket
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING

from sweeps.guard import process_lives, this_machine
from sweeps.records.types import Owner

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

OWNER, TAKEN = "owner.", "taken."  # tags, with a launch's id behind them
BEAT_S = 10.0  # between heartbeats
STALE_S = 60.0  # a heartbeat that has not moved for so long, while it was watched, has stopped
LONG_AGO_S = 900.0  # and one that is so old by the clock: no two machines' clocks differ by as much
JITTER_S = 0.5


def myself(launch: str) -> Owner:
    """This process as the owner of its launch's runs."""
    return Owner(
        launch=launch,
        host=socket.gethostname(),
        machine=this_machine(),
        pid=os.getpid(),
        user=os.environ.get("USER", ""),
        beat_ms=_now_ms(),
    )


def tag(owner: Owner) -> tuple[str, str]:
    """The tag that says so."""
    facts = asdict(owner)
    return OWNER + facts.pop("launch"), json.dumps(facts)


def owners_in(tags: Mapping[str, str]) -> tuple[Owner, ...]:
    """The launches that claim a run and were not taken over; what is no claim of ours is passed over."""
    found = []
    for name, text in sorted(tags.items()):
        launch = name.removeprefix(OWNER)
        if name.startswith(OWNER) and re.fullmatch(r"[0-9a-f]{32}", launch) and TAKEN + launch not in tags:
            owner = _parsed(launch, text)
            if owner is not None:
                found.append(owner)
    return tuple(found)


def _parsed(launch: str, text: str) -> Owner | None:
    try:
        facts = json.loads(text)
    except (ValueError, RecursionError):
        return None
    if not isinstance(facts, dict):
        return None

    def word(name: str) -> str:
        found = facts.get(name, "")
        return found[:200] if isinstance(found, str) else ""

    def count(name: str) -> int:
        found = facts.get(name, 0)
        return found if isinstance(found, int) and not isinstance(found, bool) and 0 <= found < 2**53 else 0

    left = facts.get("left_s")
    return Owner(
        launch=launch,
        host=word("host"),
        machine=word("machine"),
        pid=count("pid"),
        user=word("user"),
        beat_ms=count("beat_ms"),
        step=count("step"),
        left_s=float(left) if isinstance(left, int | float) and 0 <= left < 1e9 else None,
    )


@dataclass
class Heard:
    """What this process has heard of others' heartbeats. A beat is compared with itself, on one's own clock: the
    clocks of two machines need not agree."""

    clock: Callable[[], float] = time.monotonic
    now_ms: Callable[[], int] = field(default_factory=lambda: _now_ms)
    _since: dict[str, tuple[int, float]] = field(default_factory=dict)  # launch → (beat, when it was first heard)

    def lives(self, owner: Owner) -> bool:
        """Whether the launch may still be making its runs. Asked again, a beat that stands still is noticed."""
        if owner.machine == this_machine() and not (0 < owner.pid < 2**31 and process_lives(owner.pid)):
            return False
        if abs(self.now_ms() - owner.beat_ms) > 1000 * LONG_AGO_S:
            return False
        beat, since = self._since.get(owner.launch, (None, 0.0))
        if beat != owner.beat_ms:
            self._since[owner.launch] = (owner.beat_ms, self.clock())
            return True
        return self.clock() - since < STALE_S


def claim(client: MlflowClient, run_id: str, me: Owner, heard: Heard) -> Owner | None:
    """Take a run. Returns None where it is ours now, else the living launch that has it."""
    others = _others(client.get_run(run_id), me)
    if (living := _living(others, heard)) is not None:
        return living
    client.set_tag(run_id, *tag(me))
    others = _others(client.get_run(run_id), me)
    if (living := _living(others, heard)) is not None:
        client.delete_tag(run_id, OWNER + me.launch)
        return living
    for dead in others:
        client.set_tag(run_id, TAKEN + dead.launch, me.launch)
        client.delete_tag(run_id, OWNER + dead.launch)
    return None


def is_lost(run: Run, me: Owner) -> bool:
    """Whether another launch has taken this run over from us: we slept, or were cut off, for too long."""
    return TAKEN + me.launch in run.data.tags


def beat(client: MlflowClient, run_id: str, me: Owner, step: int = 0, left_s: float | None = None) -> None:
    """Say that we are still there, and how far the run is."""
    client.set_tag(run_id, *tag(replace(me, beat_ms=_now_ms(), step=step, left_s=left_s)))


def release(client: MlflowClient, run: Run, me: Owner) -> None:
    """Let go of a run."""
    if OWNER + me.launch in run.data.tags:
        client.delete_tag(run.info.run_id, OWNER + me.launch)


def the_one(client: MlflowClient, find: Callable[[], Sequence[Run]], make: Callable[[], Run]) -> tuple[Run, bool]:
    """The run that `find` finds, else the one that `make` makes, never two: (run, whether we made it).

    Where another process has made one meanwhile, ours goes and theirs stays; where both were so quick, both go, and
    try again a little later.
    """
    while not (found := find()):
        mine = make()
        if len(found := find()) == 1 and found[0].info.run_id == mine.info.run_id:
            return mine, True
        client.delete_run(mine.info.run_id)
        time.sleep(random.uniform(0, JITTER_S))
    return min(found, key=lambda run: (run.info.start_time, run.info.run_id)), False


def _others(run: Run, me: Owner) -> tuple[Owner, ...]:
    return tuple(owner for owner in owners_in(run.data.tags) if owner.launch != me.launch)


def _living(owners: Sequence[Owner], heard: Heard) -> Owner | None:
    return next((owner for owner in owners if heard.lives(owner)), None)


def _now_ms() -> int:
    return int(time.time() * 1000)
