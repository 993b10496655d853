"""What a launch says of its store: that it does not answer, what it refuses, what it does not take. Each once."""

from __future__ import annotations

import time
from collections.abc import Callable

from data_prep.redaction import redacted
from sweeps.records.address import address, one_line

REFUSALS = {  # error codes that no waiting mends; every other error counts as an outage
    "BAD_REQUEST",
    "INVALID_PARAMETER_VALUE",
    "INVALID_STATE",
    "PERMISSION_DENIED",
    "RESOURCE_ALREADY_EXISTS",
    "RESOURCE_DOES_NOT_EXIST",
    "UNAUTHENTICATED",
}


def is_refused(error: Exception) -> bool:
    """Whether no waiting mends it."""
    return getattr(error, "error_code", "") in REFUSALS


class Voice:
    """What one launch has said, and since when its store is silent."""

    def __init__(self, say: Callable[[str], None]) -> None:
        self.say = say
        self._silent_since: float | None = None
        self._said: set[str] = set()

    @property
    def is_silent(self) -> bool:
        """Whether the store has not answered when it was last asked."""
        return self._silent_since is not None

    def once(self, text: str) -> None:
        """Say it, unless it was said."""
        if text not in self._said:
            self._said.add(text)
            self.say(text)

    def helps(self, what: str, act: Callable[[], object], of: str = "") -> None:
        """Do what the records do without; where the store does not take it, a line, the first time, and that is all."""
        try:
            act()
        except Exception as error:  # an older server, no permission, too long: each store raises its own
            if what not in self._said:
                self._said.add(what)
                named = f"{what} of {of}" if of else what
                self.say(
                    f"MLflow at {redacted(address())}: {named} was not stored ({type(error).__name__}:"
                    f" {one_line(error)}); the records are whole without" + ("; others are not named" if of else "")
                )

    def answered(self, act: Callable[[], None], what: str, refused: Callable[[str], None] = lambda _: None) -> bool:
        """Whether the store has answered; what it refuses for good is said once, and `refused` hears why."""
        from mlflow.exceptions import MlflowException

        try:
            act()
        except (MlflowException, OSError) as error:
            if is_refused(error):
                refused(one_line(error))
                self.once(f"MLflow refuses {what}: {one_line(error)}")
                return True
            if self._silent_since is None:
                self._silent_since = time.monotonic()
                self.say(f"MLflow at {redacted(address())} does not answer: training goes on, rows wait")
            return False
        if self._silent_since is not None:
            self.say(f"MLflow answers again after {time.monotonic() - self._silent_since:.0f} s: rows are sent")
            self._silent_since = None
        return True
