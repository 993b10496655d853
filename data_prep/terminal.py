"""Standard output and error of a command, wherever they lead."""

from __future__ import annotations

import contextlib
import logging
import os
import stat
import sys
from typing import Any, TextIO, cast

from data_prep.redaction import redacted


def settle_output() -> None:
    """What stdout and stderr cannot encode becomes a question mark: no command ends in a traceback for an arrow.

    And what libraries say there, in tracebacks too, holds no password. The first thing that every command does.
    """
    logging.getLogger("matplotlib").setLevel(logging.ERROR)  # that there is no home for its cache is no news to anyone
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if isinstance(stream, _Redacting):
            continue
        if _is_pipe(stream):
            setattr(sys, name, stream := cast(TextIO, _Lasting(stream)))
        if hasattr(stream, "reconfigure"):
            with contextlib.suppress(ValueError):  # it is closed
                stream.reconfigure(errors="replace")
        elif getattr(stream, "encoding", None):  # somebody's stand-in for the stream; None where it takes any text
            setattr(sys, name, stream := cast(TextIO, _Replacing(stream)))
        if stream is not None:
            setattr(sys, name, cast(TextIO, _Redacting(stream)))


def clean(text: str) -> str:
    """Others' text in one line, without control characters; a byte that was no letter is a question mark."""
    if text.isprintable():
        return text
    return "".join(one if one.isprintable() else "?" if "\ud800" <= one <= "\udfff" else " " for one in text)


def _is_pipe(stream: Any) -> bool:
    try:
        return stat.S_ISFIFO(os.fstat(stream.fileno()).st_mode)
    except (OSError, ValueError, AttributeError):
        return False


class _Redacting:
    """A stream that nobody reads a password from."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        """Write the text, as long as the caller believes it to be."""
        self._stream.write(redacted(text))
        return len(text)

    def writelines(self, lines: list[str]) -> None:
        """Write each."""
        for line in lines:
            self.write(line)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


class _Lasting:
    """A pipe whose reader may go: what is said after that is said to nobody, and the work goes on."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        """Write the text."""
        try:
            return int(self._stream.write(text))
        except BrokenPipeError:
            self._end()
            return len(text)

    def writelines(self, lines: list[str]) -> None:
        """Write each."""
        for line in lines:
            self.write(line)

    def flush(self) -> None:
        """Send what was written."""
        try:
            self._stream.flush()
        except BrokenPipeError:
            self._end()

    def _end(self) -> None:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, self._stream.fileno())
        os.close(nowhere)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


class _Replacing:
    """A stream that is asked for no more than its encoding can say."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        """Write the text; question marks where there is no letter."""
        encoding = self._stream.encoding
        return int(self._stream.write(text.encode(encoding, "replace").decode(encoding)))

    def writelines(self, lines: list[str]) -> None:
        """Write each."""
        for line in lines:
            self.write(line)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)
