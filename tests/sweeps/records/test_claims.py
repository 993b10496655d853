from __future__ import annotations

import json
import threading
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from itertools import combinations
from types import SimpleNamespace
from typing import Any, cast

import pytest

from data_prep.unfinished import this_machine
from sweeps.records import claims
from sweeps.records.claims import BEAT_S, LONG_AGO_S, STALE_S, UNWATCHED_S, Heard, claim, has_stopped, owners_in, tag
from sweeps.records.types import Owner

A, B, C = (
    Owner(launch=letter * 32, host=f"host-{letter}", machine=f"machine {letter}", pid=7, beat_ms=1_000)
    for letter in "abc"
)


@dataclass
class Store:
    """One run of an MLflow, in memory. `turns` is asked before every call."""

    tags: dict[str, str] = field(default_factory=dict)
    turns: Turns | None = None

    def get_run(self, run_id: str) -> Any:
        self._wait()
        return SimpleNamespace(info=SimpleNamespace(run_id=run_id), data=SimpleNamespace(tags=dict(self.tags)))

    def set_tag(self, run_id: str, name: str, text: str) -> None:
        self._wait()
        self.tags[name] = text

    def delete_tag(self, run_id: str, name: str) -> None:
        self._wait()
        del self.tags[name]

    def _wait(self) -> None:
        if self.turns is not None:
            self.turns.wait()


class Turns:
    """Lets threads go on in a given order, "aab…"; after that, and after the other has ended, as they like."""

    def __init__(self, order: Iterable[str]) -> None:
        self.order, self.ended, self.turned = list(order), set[str](), threading.Condition()

    def wait(self) -> None:
        name = threading.current_thread().name
        with self.turned:
            self.turned.wait_for(lambda: self._next() in ("", name))
            if self.order:
                self.order.pop(0)
            self.turned.notify_all()

    def end(self) -> None:
        with self.turned:
            self.ended.add(threading.current_thread().name)
            self.turned.notify_all()

    def _next(self) -> str:
        while self.order and self.order[0] in self.ended:
            self.order.pop(0)
        return self.order[0] if self.order else ""


class Clock:
    """Seconds that pass when they are told to."""

    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        return self.now

    def ms(self) -> int:
        return int(1_000 * self.now)


def take(store: Store, me: Owner, heard: Heard | None = None) -> Owner | None:
    return claim(cast(Any, store), "a run", me, heard or Heard())


def _all_but_c_live(owner: Owner) -> bool:
    return owner.launch != C.launch


def watch(heard: Heard, clock: Clock, owner: Owner, seconds: float, every: float = 2.0) -> bool:
    """Look again and again, and say what the last look said."""
    for _ in range(round(seconds / every)):
        clock.now += every
        heard.lives(owner)
    return heard.lives(owner)


# --- a claim ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dead", [False, True], ids=["free", "left by a dead launch"])
def test_in_whatever_order_two_launches_claim_a_run_never_both_have_it(dead: bool) -> None:
    calls = 6 if dead else 4  # of one that wins: look, tag, look; and the two that mark a dead owner
    for first in combinations(range(2 * calls), calls):
        store = Store(turns=Turns("a" if at in first else "b" for at in range(2 * calls)))
        if dead:
            store.tags |= dict([tag(C)])
        got: dict[str, Owner | None] = {}

        def launch(me: Owner, name: str, store: Store = store, got: dict[str, Owner | None] = got) -> None:
            heard = Heard()
            heard.lives = _all_but_c_live  # type: ignore[method-assign]
            got[name] = take(store, me, heard)
            assert store.turns is not None
            store.turns.end()

        threads = [threading.Thread(target=launch, args=(me, name), name=name) for me, name in ((A, "a"), (B, "b"))]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        winners = [name for name, owner in got.items() if owner is None]
        assert len(winners) <= 1, (first, got)
        store.turns = None
        if winners:
            assert [owner.launch[0] for owner in owners_in(store.tags)] == winners
        else:  # both withdrew
            assert {owner.launch for owner in owners_in(store.tags)} <= {C.launch}


def test_a_claim_carries_a_heartbeat_of_now_however_long_ago_its_launch_began() -> None:
    store = Store()
    old = replace(A, beat_ms=1)
    assert take(store, old) is None
    (owner,) = owners_in(store.tags)
    assert not has_stopped(owner, claims._now_ms())


def test_who_was_taken_over_writes_no_more_and_may_claim_again_when_the_run_is_free() -> None:
    store = Store(dict([tag(replace(A, machine=this_machine(), pid=0))]))
    assert take(store, B) is None
    run = store.get_run("a run")
    assert claims.is_lost(run, A)
    claims.beat(cast(Any, store), "a run", A)  # it woke in the middle of a heartbeat
    assert [owner.launch for owner in owners_in(store.tags)] == [B.launch]
    assert take(store, A) == owners_in(store.tags)[0]
    claims.release(cast(Any, store), run=store.get_run("a run"), owner=B)
    assert take(store, A) is None
    assert [owner.launch for owner in owners_in(store.tags)] == [A.launch]
    assert not claims.is_lost(store.get_run("a run"), A)
    assert take(store, B) is not None


# --- one at a time ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dead", [False, True], ids=["free", "left by a dead launch"])
def test_in_whatever_order_two_launches_come_each_is_alone_in_turn(dead: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(claims, "JITTER_S", 0.0)
    for first in combinations(range(8), 4):  # of one that is alone at once: tag, look, what it does there, untag
        store = Store(turns=Turns("a" if at in first else "b" for at in range(8)))
        if dead:
            store.tags |= dict([tag(C, claims.WRITER)])
        inside: list[str] = []
        seen: list[tuple[str, ...]] = []

        def launch(
            me: Owner, name: str, store: Store = store, inside: list[str] = inside, seen: list[Any] = seen
        ) -> None:
            assert store.turns is not None
            heard = Heard()
            heard.lives = _all_but_c_live  # type: ignore[method-assign]
            with claims.alone(cast(Any, store), "a run", me, heard):
                inside.append(name)
                store.turns.wait()
                seen.append(tuple(inside))
                inside.remove(name)
            store.turns.end()

        threads = [threading.Thread(target=launch, args=(me, name), name=name) for me, name in ((A, "a"), (B, "b"))]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sorted(seen) == [("a",), ("b",)], first
        assert store.tags == {}


def test_what_fails_while_a_launch_is_alone_lets_the_next_one_in() -> None:
    store = Store()

    def fails() -> None:
        with claims.alone(cast(Any, store), "a run", A, Heard()):
            assert list(store.tags) == [claims.WRITER + A.launch]
            raise OSError("full")

    with pytest.raises(OSError, match="full"):
        fails()
    assert store.tags == {}


# --- who lives -------------------------------------------------------------------------------------------------------


def test_a_launch_of_this_machine_is_dead_when_its_process_is_and_at_once() -> None:
    here = replace(A, machine=this_machine(), beat_ms=claims._now_ms())
    assert not Heard().lives(replace(here, pid=2**31 - 2))
    assert not Heard().lives(replace(here, pid=0))
    assert not Heard().lives(replace(here, pid=2**60))
    assert Heard().lives(replace(here, pid=1))  # another's process, and alive


def test_a_launch_elsewhere_is_dead_when_its_heartbeat_stood_still_while_it_was_watched() -> None:
    clock = Clock()
    heard = Heard(clock, clock.ms)
    assert heard.lives(A)
    assert watch(heard, clock, A, STALE_S - 2)
    assert heard.lives(replace(A, beat_ms=A.beat_ms + 1))  # it beat once more
    assert watch(heard, clock, replace(A, beat_ms=A.beat_ms + 1), STALE_S - 2)
    assert not watch(heard, clock, replace(A, beat_ms=A.beat_ms + 1), 4)


def test_several_runs_of_a_dead_launch_with_a_heartbeat_each_do_not_look_alive_to_each_other() -> None:
    clock = Clock()
    heard = Heard(clock, clock.ms)
    runs = [replace(A, beat_ms=A.beat_ms + at) for at in range(8)]
    for _ in range(round(STALE_S)):
        clock.now += 1.0
        for run in runs:
            heard.lives(run)
    clock.now += 1.0
    assert not any(heard.lives(run) for run in runs)


def test_a_store_that_was_away_for_both_makes_nobody_dead() -> None:
    clock = Clock()
    heard = Heard(clock, clock.ms)
    assert watch(heard, clock, A, STALE_S / 2)
    clock.now += 10 * STALE_S  # nobody could beat, nobody could look
    assert heard.lives(A)
    assert watch(heard, clock, A, BEAT_S)
    assert UNWATCHED_S < STALE_S


@pytest.mark.parametrize("hours", [-14, -1, 1, 14])
def test_clocks_may_be_hours_apart(hours: int) -> None:
    clock = Clock()
    heard = Heard(clock, clock.ms)
    clock.now = 1e6
    for _ in range(100):
        clock.now += BEAT_S
        assert heard.lives(replace(A, beat_ms=clock.ms() + hours * 3_600_000))


def test_a_heartbeat_of_another_day_is_none() -> None:
    clock = Clock()
    clock.now = 1e7
    assert not Heard(clock, clock.ms).lives(replace(A, beat_ms=clock.ms() - round(LONG_AGO_S * 1000) - 1))


# --- what stands in a tag --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        "",
        "no JSON",
        "[" * 100_000,
        "null",
        "[1]",
        '"/etc/passwd"',
        "{",
        json.dumps("x" * 10_000),
        "1e999",
        "9" * 5_000,
    ],
    ids=lambda text: text[:12],
)
def test_a_claim_that_is_none_is_nobodys(text: str) -> None:
    assert owners_in({claims.OWNER + "a" * 32: text}) == ()


@pytest.mark.parametrize("launch", ["", "a" * 31, "a" * 33, "A" * 32, "../" * 10 + "aa", "²" * 32, "a" * 32 + "\n"])
def test_a_claim_under_a_name_that_no_launch_has_is_nobodys(launch: str) -> None:
    assert owners_in({claims.OWNER + launch: tag(A)[1]}) == ()


@pytest.mark.parametrize("odd", [None, True, -1, 1.5, 2**60, "²", "7", [], {}, float("nan"), float("inf"), "x" * 9_000])
def test_a_claim_with_odd_facts_is_read_without_them(odd: object) -> None:
    names = ("host", "machine", "pid", "user", "beat_ms", "step", "left_s")
    (owner,) = owners_in({claims.OWNER + "a" * 32: json.dumps(dict.fromkeys(names, odd))})
    assert {type(owner.pid), type(owner.beat_ms), type(owner.step)} == {int}
    assert 0 <= owner.pid < 2**53
    assert len(owner.host) <= 200
    assert owner.left_s is None or 0 <= owner.left_s < 1e9
    Heard().lives(owner)
    has_stopped(owner, 0)


def test_a_hosts_name_moves_no_cursor() -> None:
    facts = json.dumps({"host": "a\x1b[2J\r\nb\u202e"})
    (owner,) = owners_in({claims.OWNER + "a" * 32: facts})
    assert owner.host == "a [2J  b "
