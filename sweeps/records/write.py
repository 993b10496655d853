"""Records → MLflow: one launch of a campaign. Its run holds a run for each row, and that one a child per run key.

What is written waits in memory (children.py) and is sent by one thread, in batches: training never waits for the
store, and an outage costs nothing but time.
"""

from __future__ import annotations

import math
import sys
import threading
import time
import uuid
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Self

from data_prep.redaction import redacted
from sweeps.campaign import Campaign
from sweeps.records import claims, read, shown
from sweeps.records.address import Store, StoreGone, TrackingUnavailable, address, connect, explained, one_line
from sweeps.records.children import Begun as Begun
from sweeps.records.children import Children, is_due, keep, unsent
from sweeps.records.tree import Tree
from sweeps.records.types import Status
from sweeps.records.voice import Voice, is_refused

if TYPE_CHECKING:
    from mlflow import MlflowClient

SEND_EVERY_S = 1.0
RETRY_AFTER_S = 5.0  # between attempts while the store does not answer
ASK_AGAIN_S = 0.2  # at the end, where nothing else is left to do


class Tracker(Children):
    """One launch of a campaign in MLflow. A context manager: whatever ends it, no run of ours is left RUNNING."""

    def __init__(self, client: MlflowClient, campaign: Campaign, say: Callable[[str], None]) -> None:
        me = claims.myself(uuid.uuid4().hex)
        super().__init__(client, Tree(client, campaign, me), me, Voice(say))
        self._store = Store(address())
        self._sending = threading.Lock()  # one sender at a time
        self._closed = threading.Event()
        self._parent_beat_at = -math.inf
        self._report: Path | None = None  # the folder of the report that is shown
        self._shown_ns = 0  # when that was written
        self._thread = threading.Thread(target=self._send_forever, name="mlflow sender", daemon=True)

    @classmethod
    def open(
        cls,
        campaign: Campaign,
        *,
        say: Callable[[str], None] = lambda text: print(text, file=sys.stderr),
    ) -> Self:
        """Find or create the experiment and the campaign's run, and leave the campaign's document with it.

        The document that is there already is extended. What launches that are dead left RUNNING becomes KILLED.
        Raises TrackingUnavailable, one line, within about 15 s, and BadCampaign where a newer program wrote it.
        """
        client = connect(address())
        lost = read.lost([campaign.study.name])
        with explained("create the experiment and the campaign's run"):
            tracker = cls(client, campaign, say)
            for line in lost:
                say(line)
            tracker.tree.open()
        tracker._voice.helps("the view of its runs by row", lambda: shown.show_view(tracker.tree))
        tracker._thread.start()
        return tracker

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if not self._closed.is_set():
            problems = self.close("KILLED" if kind is None or issubclass(kind, KeyboardInterrupt) else "FAILED")
            for problem in [] if kind is not None and issubclass(kind, StoreGone) else problems:
                self._voice.say(problem)

    def refuse_if_gone(self) -> None:
        """Raise StoreGone where the SQLite file that this launch records in is not there any more."""
        self._store.refuse_if_gone()

    # --- the campaign ------------------------------------------------------------------------------------------------

    def show(self, folder: Path) -> None:
        """From here on MLflow's pages show the report in this folder, as often as it is written anew."""
        self._shown_ns, self._report = shown.written_ns(folder), folder

    def _show_the_report(self) -> None:
        if self._report is None:
            return
        folder, written = self._report, shown.written_ns(self._report)
        if written != self._shown_ns:
            self._shown_ns = written
            self._voice.helps("the table as description", lambda: shown.show_report(self.tree, folder))

    def extend(self, campaign: Campaign) -> None:
        """More runs of this campaign: its document is extended. Raises TrackingUnavailable."""
        with explained("extend the campaign's document"):
            self.tree.extend(campaign)

    def settle(self, patience_s: float) -> bool:
        """Wait until MLflow has what it was told; False where it is silent for so long."""
        deadline = time.monotonic() + patience_s
        while not self._send():
            if time.monotonic() > deadline:
                return False
            time.sleep(ASK_AGAIN_S)
        return True

    def has_the_end_of(self, key: str) -> bool:
        """Whether MLflow has all of a run that has ended, or takes no more of it."""
        child = self._children.get(key)
        return child is None or child.settled or child.lost or child.refused is not None

    # --- the end -----------------------------------------------------------------------------------------------------

    def close(self, status: Status, artefacts: Path | None = None, *, patience_s: float = 20.0) -> list[str]:
        """Send what waits, end every run of ours, log a folder to the campaign's run. Returns what was not sent.

        Runs that have not ended are KILLED: the next command picks them up. The campaign's run ends with the last
        launch of it. A silent store is asked again for patience_s; in the place of one that is gone nothing is written.
        """
        deadline = time.monotonic() + patience_s
        if self._closed.is_set():
            return []
        with self._lock:
            for child in self._children.values():
                if child.end is None:
                    self._end(child, "KILLED")
        self._closed.set()
        self._wake.set()
        self._thread.join()
        try:
            self.refuse_if_gone()
        except StoreGone as error:
            return [str(error)]
        answers = self.settle(patience_s)
        problems = [
            f"MLflow at {redacted(address())}: {child.refused or 'does not answer'}; {unsent(child)}"
            for child in self._children.values()
            if not child.settled and not child.lost
        ]
        if artefacts is not None and answers:
            problems += keep(self._client, self.tree.parent_id, artefacts)
            self._voice.helps("the table as description", lambda: shown.show_report(self.tree, artefacts))
        while True:
            try:
                with explained("end the campaign's run"):
                    return problems + self._end_the_campaign(status)
            except TrackingUnavailable as error:
                if time.monotonic() > deadline:
                    return [*problems, str(error)]
                time.sleep(ASK_AGAIN_S)

    def _end_the_campaign(self, status: Status) -> list[str]:
        """End its run. Returns a line where the store refuses that for good: somebody has deleted it."""
        from mlflow.exceptions import MlflowException

        try:
            self.tree.end(status)
        except MlflowException as error:
            if not is_refused(error):
                raise
            return [f"MLflow at {redacted(address())}: refuses to end the campaign's run: {one_line(error)}"]
        return []

    # --- the sender --------------------------------------------------------------------------------------------------

    def _send_forever(self) -> None:
        while not self._closed.is_set():
            self._wake.wait(RETRY_AFTER_S if self._voice.is_silent else SEND_EVERY_S)
            self._wake.clear()
            if self._closed.is_set():
                return
            self._send()
            if self._voice.is_silent:
                self._closed.wait(RETRY_AFTER_S)

    def _send(self) -> bool:
        """Send what waits, and the heartbeats; False while something still waits."""
        with self._sending:
            for child in list(self._children.values()):
                if child.refused or child.lost:
                    continue
                if not self._voice.answered(
                    partial(self._look_after, child),
                    f"{child.job.name} ({child.key})",
                    refused=partial(setattr, child, "refused"),
                ):
                    return False
            if not self._voice.answered(self._look_after_the_campaign, "the campaign's run"):
                return False
        return all(child.settled or child.lost or child.refused for child in list(self._children.values()))

    def _look_after_the_campaign(self) -> None:
        if is_due(self._parent_beat_at) and not self._closed.is_set():
            claims.beat(self._client, self.tree.parent_id, self.me)
            self._parent_beat_at = time.time()
            self._show_the_report()
        for row in sorted(self._changed_rows):
            self.tree.summarise(row)
            with self._lock:
                self._changed_rows.discard(row)
