"""No password leaves the program: not to a screen, not into a file, not into a record.

Passwords come in with addresses (a tracking server, a database, a proxy), in the environment or on the command line,
and in variables that are named for what they hold.
"""

from __future__ import annotations

import functools
import html
import json
import os
import re
import sys
from urllib.parse import quote, quote_plus, unquote, unquote_plus

GONE = "…"
USER_INFO = re.compile(r"(?<=://)[^\s\"'<>`]*@")  # up to the last @: a password may hold one, and a slash
NAMED_FOR_IT = re.compile(r"(PASSWORD|PASSWD|TOKEN|SECRET|SECRET_ACCESS_KEY|API_KEY)$", re.IGNORECASE)
LONG_ENOUGH, ODD_ENOUGH = 8, 4  # characters; a shorter one may be a word of any sentence, and goes from addresses alone


def redacted(text: str) -> str:
    """The text without passwords: those of every address in it, and those known here however they are written."""
    addresses = [one for one in (*os.environ.values(), *sys.argv) if "://" in one and "@" in one]
    bare = [value for name, value in os.environ.items() if NAMED_FOR_IT.search(name)]
    known = _pattern(tuple(addresses), tuple(bare))
    text = text if known is None else known.sub(GONE, text)
    return USER_INFO.sub(f"{GONE}@", text)


@functools.lru_cache(maxsize=8)
def _pattern(addresses: tuple[str, ...], bare: tuple[str, ...]) -> re.Pattern[str] | None:
    """What finds every known password in a text."""
    users = [found for one in addresses for word in one.split() for found in re.findall(r"://(.*)@", word)]
    words = {form for user in users for form in _forms(user.partition(":")[2])}
    words |= {form for one in bare for form in _forms(one)}
    exact = [_whole(word) for word in words] + [re.escape(user) + "(?=@)" for user in users if user]
    return re.compile("|".join(sorted(exact, key=len, reverse=True))) if exact else None


def _forms(password: str) -> set[str]:
    """A password as it was given, and as libraries write it in addresses, errors, JSON and pages."""
    plain = {password, unquote(password), unquote_plus(password)}
    plain = {one for one in plain if len(one) >= LONG_ENOUGH or (len(one) >= ODD_ENOUGH and not one.isalnum())}
    written = {quote(one, safe=safe) for one in plain for safe in ("", "/", "!$&'()*+,;=:")}
    written |= {form for one in plain for form in (quote_plus(one), json.dumps(one)[1:-1], html.escape(one))}
    written |= {repr(one)[1:-1] for one in plain}
    return plain | written | {one.lower() for one in written if "%" in one}


def _whole(word: str) -> str:
    """A pattern for a word, not for a part of another."""
    before, after = (r"(?<!\w)" if word[0].isalnum() else ""), (r"(?!\w)" if word[-1].isalnum() else "")
    return before + re.escape(word) + after
