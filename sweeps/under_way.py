"""What a launch has under way: its runs, from the claim to the end, as tracker, progress and source hear of them.

What a run is, and whether it is done, MLflow and the run's folder know. Nothing here knows how runs are scheduled.
"""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Protocol

from sweeps.campaign import Job
from sweeps.failures import MENDABLE, Failure, FolderGone, Interrupted, Tries
from sweeps.folder import Place, Task, last_checkpoint, note_failure, noted_failure
from sweeps.journal import read_journal
from sweeps.progress import Progress
from sweeps.puzzles import BuiltSet
from sweeps.records.address import TrackingUnavailable
from sweeps.records.models import trained
from sweeps.records.types import PRUNED, Measurement, Owner, Status
from sweeps.records.write import Tracker
from trm_core import outcomes
from trm_core.solving import thought_file

MORE_THAN_ENOUGH = 10**9  # runs at once, before any machine was looked at


class ProcessDied(RuntimeError):
    """A run's process died as often as was allowed: killed, out of memory, its machine gone."""


class Source(Protocol):
    """Where runs come from that are not known when a launch begins, and who hears how every run has ended."""

    def more(self) -> Sequence[Job] | None:
        """Jobs to be made now; none where one has to wait for others to end first; None where there are no more."""

    def ended(self, job: Job, failure: Failure | None) -> None:
        """A run has ended, here or elsewhere, or was given up."""

    def tell(self) -> None:
        """Pass on what it has heard, as far as that can be done at once. Called again and again."""

    def gives_up(self, job: Job, rows: Sequence[Measurement]) -> bool:
        """Whether a run that has just reported these rows is to end now."""


class UnderWay:
    """The runs of a launch, and whether it is to end."""

    def __init__(
        self,
        jobs: Mapping[str, Job],
        sets: Mapping[str, BuiltSet],
        place: Place,
        trackers: Mapping[str, Tracker],
        progress: Progress,
        source: Source | None = None,
        tags: Mapping[str, Mapping[str, str]] = MappingProxyType({}),
        on_end: Callable[[Job], None] = lambda _: None,
    ) -> None:
        self.jobs, self.sets, self.trackers, self.progress = dict(jobs), sets, trackers, progress
        self.place, self.folder = place, place.folder / "runs"
        self.source, self.tags, self.on_end = source, tags, on_end
        self.device, self.workers, self.share = "cpu", 1, 1.0
        self.room: Callable[[], int] = lambda: MORE_THAN_ENOUGH  # for so many runs at once, by now
        self.finished: list[str] = []
        self.failed: dict[str, str] = {}
        self.bad_disk: list[str] = []
        self.running: set[str] = set()
        self.lost: set[str] = set()  # taken over by another launch
        self.given_up: set[str] = set()  # by the source
        self.stopped: set[str] = set()  # failed here, in the driver: each ends at its next report and is heard no more
        self.tries: dict[str, Tries] = {}
        self.interrupted = False
        self.saves_first = False  # and runs that go on may write a checkpoint before
        self.broken: Exception | None = None  # what all runs need went wrong
        self.silent = False  # MLflow did not answer when a run was to begin
        self._news = False
        self._owners: dict[str, Owner | None] = {}
        self._taken_back: list[Job] = []
        self._told: dict[str, int] = {}  # the last step that was reported

    def __reduce__(self) -> tuple[type[object], tuple[()]]:
        """Tune writes what asks us to disk, to restore it one day: we stay here, nothing goes there."""
        return object, ()

    # --- whether it is to end ----------------------------------------------------------------------------------------

    def interrupt(self, number: int) -> None:
        """End at the next step of Tune's loop; where this signal is no Ctrl-C, once the runs have saved."""
        self.interrupted, self.saves_first = True, number != signal.SIGINT

    def check(self) -> None:
        """Raise Interrupted if somebody asked for it."""
        if self.interrupted:
            raise Interrupted

    def end_for(self, error: Exception) -> None:
        """What all runs need went wrong: the launch is over, and says so with this error."""
        self.broken = self.broken or error

    def kill_running(self) -> None:
        """What is under way counts as killed."""
        for key in sorted(self.running):
            self.trackers[key].finish(key, "KILLED")
        self.running.clear()

    # --- before a run begins -----------------------------------------------------------------------------------------

    def more(self) -> Sequence[Job] | None:
        """Further jobs; none where one has to wait for them, None where there are no more."""
        try:
            found = self.source.more() if self.source else None
        except TrackingUnavailable:
            self.silent = True
            return ()
        self.jobs |= {job.key: job for job in found or ()}
        return found

    def take_news(self) -> bool:
        """Whether any run has ended since the last time."""
        news, self._news = self._news, False
        return news

    def begin(self, job: Job) -> str:
        """Claim a run: "ours"; "elsewhere", to be asked again; or "over", finished or failed by another launch."""
        of = self.sets[job.key]
        shared = {"gpus_per_run": f"{self.share:g}"} if self.share < 1 else {}
        tags = {**of.tags, "workers": str(self.workers), **shared, **self.tags.get(job.key, {})}
        begun = self.trackers[job.key].begin(job, of.content_hash, tags=tags)
        if begun.what == "elsewhere":
            self._owners[job.key] = begun.owner
            return "elsewhere"
        if begun.what == "ours":
            self.lost.discard(job.key)
            return "ours"
        reason = begun.record.tags.get("failure", "no reason recorded") if begun.record else ""
        if begun.what == "failed":
            self.failed[job.key] = reason
        else:
            self.finished.append(job.key)
        self.progress.elsewhere(job.name, job.run.train_work(), failure=reason if begun.what == "failed" else "")
        self._ended(job.key, Failure("failed", reason) if begun.what == "failed" else None)
        return "over"

    def owner(self, job: Job) -> Owner | None:
        """Who makes a run that is made elsewhere; None where it did not say."""
        return self._owners.get(job.key)

    def task(self, job: Job) -> Task:
        """What the run's worker needs to know."""
        folder, launch = self.folder.resolve() / job.key, self.trackers[job.key].me.launch
        gpu = self.share if self.device == "cuda" else 0.0
        return Task(job.key, job.run, self.sets[job.key].folder.resolve(), folder, 1, launch, self.device, gpu)

    def take_back(self) -> list[Job]:
        """Runs that were ours until another launch took them over: to be waited for."""
        jobs, self._taken_back = self._taken_back, []
        return jobs

    # --- while it goes on --------------------------------------------------------------------------------------------

    def start(self, job: Job) -> None:
        """A run begins, or begins again."""
        if job.key in self.running:
            self.trackers[job.key].again(job.key)
        self.running.add(job.key)
        self._tries(job.key)
        at = last_checkpoint(self.folder / job.key)
        self.progress.begin(job.key, job.name, job.run.train.steps, job.run.train_work(), at)

    def log(self, key: str, rows: Sequence[Measurement]) -> None:
        """Rows that a run has reported."""
        if rows:
            self.trackers[key].log(key, rows)
            self._told[key] = rows[-1].step
        for row in rows:
            self.progress.update(key, row.step, row.metrics)
        if rows:
            self.trackers[key].expect(key, self.progress.left_s(key))

    def say_and_tag(self, key: str, name: str, text: str) -> None:
        """What is worth a line on the screen, and is kept with the run."""
        self.progress.say(f"{self.jobs[key].name}: {text}")
        self.trackers[key].tag(key, {name: text})

    def _tries(self, key: str) -> Tries:
        return self.tries.setdefault(key, Tries(last_checkpoint(self.folder / key)))

    def another(self, key: str, *, preempted: bool) -> bool:
        """A run's process has ended, perhaps before the run began there. Whether there is to be another."""
        return self._tries(key).another(preempted=preempted, checkpoint=last_checkpoint(self.folder / key))

    def preempted(self, key: str, why: str, *, counted: bool = False) -> None:
        """A run's process was taken away. counted: among its tries already."""
        self.tries[key].preemptions += not counted
        self.say_and_tag(key, "preempted", why)
        self.trackers[key].tag(key, {"preemptions": str(self.tries[key].preemptions)})

    def is_to_end(self, key: str, rows: Sequence[Measurement]) -> bool:
        """Whether a run ends here with these rows that it has just reported."""
        try:
            if rows and self.source and key not in self.lost and self.source.gives_up(self.jobs[key], rows):
                self.given_up.add(key)
        except Exception as error:
            self.end_for(error)
            raise Interrupted from error
        return key in self.lost | self.given_up | self.stopped

    def tell_the_source(self) -> None:
        """Time for the source to pass on which runs have ended."""
        if self.source:
            try:
                self.source.tell()
            except TrackingUnavailable:  # the source has heard it all the same, and tells it at a later turn
                pass
            except Exception as error:
                self.end_for(error)
                raise Interrupted from error

    def look_for_lost(self) -> None:
        """Which runs another launch has taken over."""
        self.lost |= {key for key in self.running if key in self.trackers[key].lost()}

    # --- how it ends -------------------------------------------------------------------------------------------------

    def gone(self, key: str) -> bool:
        """Whether a run that has ended here is another launch's by now, or was stopped here."""
        if key not in self.lost:
            return key in self.stopped
        self.running.discard(key)
        self._taken_back.append(self.jobs[key])
        self.progress.gone(key)
        return True

    def finish(self, key: str) -> None:
        """A run has come to its end, or to where the source gave it up."""
        self._catch_up(key)
        self.running.discard(key)
        if key in self.given_up:  # not FINISHED: a study that shares the run trains it to its end
            self.given_up.discard(key)
            self.trackers[key].finish(key, "KILLED", state=PRUNED, artefacts=self._artefacts(key))
            self.progress.end(key, pruned=True)
            self._ended(key)
            return
        self.finished.append(key)
        model = trained(self.folder / key, self.sets[key].folder)
        self.trackers[key].finish(key, "FINISHED", artefacts=self._artefacts(key), model=model)
        self.progress.end(key)
        self._ended(key)

    def fail(self, key: str, failure: Failure) -> None:
        """What is left of its journal, and that it has failed."""
        with contextlib.suppress(OSError):  # why it failed matters more
            self._catch_up(key)
        self._end_failed(key, failure)

    def has_died(self, key: str, cause: Callable[[], str]) -> None:
        """A run's process died once too often. cause: of the last time; "" where nobody said."""
        if key not in self.running:
            self.start(self.jobs[key])
        folder, launch = self.folder / key, self.trackers[key].me.launch
        noted = noted_failure(folder, launch)
        if noted is None:
            why = (
                f"the last time {said}"
                if (said := cause())
                else "nobody said why: killed, or out of memory (see dmesg)"
            )
            died = ProcessDied(f"{self.tries[key].in_words}; {why}")
            note_failure(folder, launch, died)
            noted = Failure.of(died)
        self.fail(key, noted)

    def trouble(self, key: str, error: Exception) -> None:
        """What had to be done here for this run went wrong, and its process may go on: it has failed, and no other."""
        if key in self.failed or key in self.finished:
            return
        if key not in self.running:
            self.start(self.jobs[key])
        note_failure(self.folder / key, self.trackers[key].me.launch, error)
        self.stopped.add(key)
        self._end_failed(key, Failure.of(error))

    def _end_failed(self, key: str, failure: Failure) -> None:
        """A disk is a person's to mend: the run goes on with the next command. Everything else has failed.

        Without the folder of all results the launch is over.
        """
        try:
            self.place.refuse_if_gone()
        except FolderGone as error:
            self.end_for(error)
            raise Interrupted from error
        self.running.discard(key)
        self.failed[key] = failure.reason
        if failure.kind in MENDABLE:
            self.bad_disk.append(key)
        status: Status = "KILLED" if failure.kind in MENDABLE else "FAILED"
        state = "" if failure.kind == "failed" else failure.kind
        self.trackers[key].finish(key, status, reason=failure.reason, state=state, artefacts=self._artefacts(key))
        self.progress.end(key, failure=failure.reason)
        self._ended(key, failure)

    def _ended(self, key: str, failure: Failure | None = None) -> None:
        self._news = True
        if self.source:
            try:
                self.source.ended(self.jobs[key], failure)
            except Exception as error:
                self.end_for(error)
                raise Interrupted from error
        if failure is None or failure.kind not in MENDABLE:  # no report is to be where a disk was
            self.on_end(self.jobs[key])

    def _catch_up(self, key: str) -> None:
        """The journal's rows that were never reported.

        Train's poll looks for a report first and whether the worker has ended second: one between the two is lost.
        """
        told, train = self._told.get(key, -1), self.jobs[key].run.train
        late = train.evaluate_apart  # scores of earlier steps may have been in that report; MLflow doubles none
        rows = read_journal(self.folder / key / "metrics.jsonl")
        self.log(key, [r for r in rows if r.step > told or (late and r.step < told and not r.step % train.eval_every)])

    def _artefacts(self, key: str) -> tuple[Path, ...]:
        """What is kept with the run in MLflow, where it is there."""
        folder = self.folder / key
        kept = (
            "config.json",
            "metrics.jsonl",
            "failure.txt",
            "predictions/votes.csv",
            outcomes.NAME,
            thought_file.NAME,
        )
        return tuple(folder / name for name in kept)
