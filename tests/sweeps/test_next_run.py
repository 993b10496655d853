from __future__ import annotations

import io
from collections.abc import Callable, Sequence

from ray.tune.search import Searcher

from sweeps.campaign import Job
from sweeps.next_run import Queue
from sweeps.progress import Progress
from sweeps.records.address import TrackingUnavailable
from sweeps.records.types import Owner
from trm_core.config import RunConfig


class Shelf:
    """In the watch's place: says who has which run, by key, and keeps what the queue made of it."""

    def __init__(self, **who: str) -> None:
        self.who, self.interrupted, self.silent, self.said = who, False, False, io.StringIO()
        self.running: set[str] = set()
        self.places = 99
        self.coming: list[list[Job]] = []  # from a source, call by call; an empty one: wait
        self.progress = Progress(runs=9, done=0, work=1.0, stream=self.said)

    def begin(self, job: Job) -> str:
        if self.who.get(job.key) == "silent":
            raise TrackingUnavailable("no answer")
        what = self.who.get(job.key, "ours")
        if what == "ours":
            self.running.add(job.key)
        return what

    def room(self) -> int:
        return self.places

    def owner(self, job: Job) -> Owner:
        return Owner("0" * 32, host="another", pid=7)

    def task(self, job: Job) -> str:
        return f"task {job.key}"

    def take_back(self) -> list[Job]:
        return []

    def take_news(self) -> bool:
        return False

    def more(self) -> Sequence[Job] | None:
        if not self.coming:
            return None
        found = self.coming.pop(0)
        self.running |= {"another"} if not found else set()
        return found


def queue(shelf: Shelf, *keys: str, may_begin: Callable[[Job], bool] = lambda _: True) -> Queue:
    jobs = [Job(key, "a_study", f"row {key}", "trm", "mini", 0, RunConfig()) for key in keys]
    found = Queue(shelf, jobs, may_begin)  # type: ignore[arg-type]
    found.ask_again_s = 0.0
    return found


def asked(of: Queue, times: int) -> list[str | None]:
    """What Tune gets to hear: keys, None to wait, FINISHED."""
    found = [of.suggest("trial") for _ in range(times)]
    return [one["key"] if isinstance(one, dict) else one for one in found]


def test_the_queue_gives_every_job_once_in_its_order_and_then_ends() -> None:
    assert asked(queue(Shelf(), "a", "b"), 3) == ["a", "b", Searcher.FINISHED]


def test_no_more_runs_go_on_at_once_than_there_is_room_for_and_room_may_come_and_go() -> None:
    shelf = Shelf()
    shelf.places = 1
    line = queue(shelf, "a", "b", "c", "d")
    first, second = line.suggest("1"), line.suggest("2")
    assert (first["key"], second) == ("a", None)
    shelf.places = 2  # a machine has come
    assert line.suggest("2")["key"] == "b"
    assert line.suggest("3") is None
    shelf.places = 0  # both have gone
    line.on_trial_complete("1")
    assert line.suggest("3") is None
    line.on_trial_complete("2", error=True)
    assert line.suggest("3")["key"] == "c"  # Tune has none under way now: it waits for a place itself
    line.on_trial_complete("3")
    assert line.suggest("4")["key"] == "d"
    line.on_trial_complete("4")
    assert line.suggest("5") == Searcher.FINISHED


def test_a_job_that_another_launch_makes_is_passed_over_said_once_asked_for_again_and_dropped_when_it_is_over() -> None:
    shelf = Shelf(a="elsewhere")
    line = queue(shelf, "a", "b")
    assert asked(line, 3) == ["b", None, None]
    assert shelf.said.getvalue().count("process 7 on another makes it") == 1
    shelf.who["a"] = "over"
    assert asked(line, 1) == [Searcher.FINISHED]
    assert line.not_begun == []


def test_a_job_whose_launch_died_elsewhere_becomes_ours() -> None:
    shelf = Shelf(a="elsewhere")
    line = queue(shelf, "a")
    assert asked(line, 1) == [None]
    shelf.who["a"] = "ours"
    assert asked(line, 2) == ["a", Searcher.FINISHED]


def test_what_may_not_begin_is_left_and_named_and_a_smaller_one_behind_it_is_begun() -> None:
    line = queue(Shelf(), "long", "short", may_begin=lambda job: job.key == "short")
    assert asked(line, 2) == ["short", Searcher.FINISHED]
    assert line.not_begun == ["long"]


def test_while_mlflow_is_silent_nothing_begins_and_nothing_is_given_up() -> None:
    shelf = Shelf(a="silent")
    line = queue(shelf, "a")
    assert asked(line, 2) == [None, None]
    shelf.who["a"] = "ours"
    assert asked(line, 2) == ["a", Searcher.FINISHED]


def test_jobs_that_come_later_are_waited_for_and_given_in_their_turn() -> None:
    shelf = Shelf()
    shelf.coming = [[], [Job("b", "a_study", "row b", "trm", "mini", 0, RunConfig())]]
    assert asked(queue(shelf, "a"), 4) == ["a", None, "b", Searcher.FINISHED]


def test_an_interrupted_queue_gives_nothing_more() -> None:
    shelf = Shelf()
    line = queue(shelf, "a")
    shelf.interrupted = True
    assert asked(line, 1) == [Searcher.FINISHED]
