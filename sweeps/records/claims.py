"""Who makes a run: a claim that lies with the record in MLflow, kept alive by a heartbeat.

MLflow has no transactions, so a claim is made in an order that needs none: write one's own tag, read all of them, and
withdraw if another living launch is there. Two that meet both withdraw and try again a little later; two that both
believe they have the run cannot be. A dead owner is marked as taken over, and never writes again should it wake.

What stands in a tag is anybody's word: it is parsed, compared and shown, never opened, deleted or run.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import re
import socket
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING

from data_prep.unfinished import process_lives, this_machine
from sweeps.records.types import AT_WORK, Owner
from sweeps.words import clean

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

OWNER, TAKEN = "owner.", "taken."  # tags, with a launch's id behind them
WRITER = "writer."  # likewise: of the launch that writes the campaign's document
BEAT_S = 10.0  # between heartbeats
STALE_S = 60.0  # a heartbeat that has not moved for so long, while it was watched, has stopped
UNWATCHED_S = 20.0  # between two looks at it: the watch begins anew, since the store may have been away for both
LONG_AGO_S = 86400.0  # and one that is so old by the clock: no two machines' clocks differ by a day
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


def tag(owner: Owner, kind: str = OWNER) -> tuple[str, str]:
    """The tag that says so, with a heartbeat of now."""
    owner = replace(owner, beat_ms=_now_ms())
    facts = asdict(owner)
    return kind + facts.pop("launch"), json.dumps(facts)


def owners_in(tags: Mapping[str, str], kind: str = OWNER) -> tuple[Owner, ...]:
    """The launches that claim a run and were not taken over; what is no claim of ours is passed over."""
    found = []
    for name, text in sorted(tags.items()):
        launch = name.removeprefix(kind)
        if name.startswith(kind) and re.fullmatch(r"[0-9a-f]{32}", launch) and TAKEN + launch not in tags:
            owner = _parsed(launch, text)
            if owner is not None:
                found.append(owner)
    return tuple(found)


def others_in(tags: Mapping[str, str], me: Owner, kind: str = OWNER) -> tuple[Owner, ...]:
    """The launches but ours that claim a run."""
    return tuple(owner for owner in owners_in(tags, kind) if owner.launch != me.launch)


def _parsed(launch: str, text: str) -> Owner | None:
    try:
        facts = json.loads(text)
    except (ValueError, RecursionError):
        return None
    if not isinstance(facts, dict):
        return None

    def word(name: str) -> str:
        found = facts.get(name, "")
        return clean(found[:200]) if isinstance(found, str) else ""

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


def has_stopped(owner: Owner, now_ms: int) -> bool:
    """Whether the launch is gone, as far as one look and the clocks can tell: for what is shown, not for a claim."""
    return _process_is_gone(owner) or abs(now_ms - owner.beat_ms) > 1000 * STALE_S


def _process_is_gone(owner: Owner) -> bool:
    """Whether it ran on this machine, and does no more."""
    return owner.machine == this_machine() and not (0 < owner.pid < 2**31 and process_lives(owner.pid))


@dataclass
class _Watch:
    """What was heard of one launch, on one's own clock."""

    since: float  # when it last gave a sign of life, as far as we saw
    looked: float
    beats: set[int] = field(default_factory=set)  # each of its runs may have another


@dataclass
class Heard:
    """What this process has heard of others' heartbeats. A beat is compared with those before, on one's own clock:
    the clocks of two machines need not agree."""

    clock: Callable[[], float] = time.monotonic
    now_ms: Callable[[], int] = field(default_factory=lambda: _now_ms)
    _watched: dict[str, _Watch] = field(default_factory=dict)  # by launch

    def lives(self, owner: Owner) -> bool:
        """Whether the launch may still be making its runs. Asked again and again, a still beat is noticed."""
        if _process_is_gone(owner) or abs(self.now_ms() - owner.beat_ms) > 1000 * LONG_AGO_S:
            return False
        now = self.clock()
        watch = self._watched.setdefault(owner.launch, _Watch(now, now))
        if owner.beat_ms not in watch.beats or now - watch.looked > UNWATCHED_S:
            watch.since = now
        watch.beats.add(owner.beat_ms)
        watch.looked = now
        return now - watch.since < STALE_S

    def living(self, owners: Sequence[Owner]) -> Owner | None:
        """The first of them that lives."""
        return next((owner for owner in owners if self.lives(owner)), None)


def claim(client: MlflowClient, run_id: str, me: Owner, heard: Heard) -> Owner | None:
    """Take a run. Returns None where it is ours now, else the living launch that has it."""
    run = client.get_run(run_id)
    if (living := heard.living(others_in(run.data.tags, me))) is not None:
        return living
    if is_lost(run, me):  # it was taken from us once, and is free again
        _delete(client, run_id, TAKEN + me.launch)
    client.set_tag(run_id, *tag(me))
    others = others_in(client.get_run(run_id).data.tags, me)
    if (living := heard.living(others)) is not None:
        _delete(client, run_id, OWNER + me.launch)
        return living
    for dead in others:
        client.set_tag(run_id, TAKEN + dead.launch, me.launch)
        _delete(client, run_id, OWNER + dead.launch)
    return None


@contextlib.contextmanager
def alone(client: MlflowClient, run_id: str, me: Owner, heard: Heard) -> Iterator[None]:
    """No other launch is in here, for this run, at the same time: claimed in the order above, waited for where taken.

    A launch that died in here is passed over once its process or its heartbeat is seen to have stopped.
    """
    name, _ = tag(me, WRITER)
    while True:
        client.set_tag(run_id, *tag(me, WRITER))
        others = others_in(client.get_run(run_id).data.tags, me, WRITER)
        if heard.living(others) is None:
            break
        _delete(client, run_id, name)
        time.sleep(random.uniform(0, JITTER_S))
    try:
        for dead in others:
            _delete(client, run_id, WRITER + dead.launch)
        yield
    finally:
        _delete(client, run_id, name)


def is_lost(run: Run, me: Owner) -> bool:
    """Whether another launch has taken this run over from us: we slept, or were cut off, for too long."""
    return TAKEN + me.launch in run.data.tags


def beat(
    client: MlflowClient,
    run_id: str,
    me: Owner,
    step: int = 0,
    left_s: float | None = None,
    *,
    at_work_ms: int | None = None,
) -> None:
    """Say that we are still there, how far the run is, and for how long launches have made it, ours and those before.

    The last stays when another takes the claim, so that a launch may die at any moment.
    """
    name, text = tag(replace(me, step=step, left_s=left_s))
    if at_work_ms is None:
        client.set_tag(run_id, name, text)
    else:
        from mlflow.entities import RunTag

        client.log_batch(run_id, tags=[RunTag(name, text), RunTag(AT_WORK, str(at_work_ms))])


def release(client: MlflowClient, run: Run, owner: Owner) -> None:
    """Take a launch's claim off a run: our own, or that of one that is gone."""
    if OWNER + owner.launch in run.data.tags:
        _delete(client, run.info.run_id, OWNER + owner.launch)


def _delete(client: MlflowClient, run_id: str, name: str) -> None:
    """Delete a tag, which another process may just have deleted."""
    from mlflow.exceptions import MlflowException

    try:
        client.delete_tag(run_id, name)
    except MlflowException as error:
        if name in client.get_run(run_id).data.tags:
            raise error from None


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
    return min(found, key=lambda run: (run.info.start_time or 0, run.info.run_id)), False


def _now_ms() -> int:
    return int(time.time() * 1000)
