"""No password in what is said, whatever its letters and however it is written."""

from __future__ import annotations

import html
import json
import os
import subprocess
import sys
from pathlib import Path
from unittest import mock
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import given
from hypothesis import strategies as st

from data_prep.redaction import redacted

ROOT = Path(__file__).resolve().parents[2]
SIGNS = "@:/%?#&+=;,!$'\"<>\\[]{}|^~`*()-_."
PASSWORDS = st.text("abcXYZ019éλ" + SIGNS, min_size=8, max_size=24).filter(lambda text: any(c in SIGNS for c in text))


@given(password=PASSWORDS, user=st.sampled_from(["alice", "a.b", "me%40work", ""]), raw=st.booleans())
def test_a_password_of_any_letters_is_in_nothing_that_is_said(password: str, user: str, raw: bool) -> None:
    given_as = password if raw else quote(password, safe="")
    address = f"https://{user}:{given_as}@host.example:5000"
    said = {
        "as it is": address,
        "MLflow's link": f"View run x at: {address}/#/experiments/1/runs/{'0' * 32}\n",
        "a quoted error": f"HTTPError({address!r}) for url: {address}/api/2.0/mlflow?x=1, '{address}'",
        "without its scheme": f"no route to {user}:{given_as}@host.example",
        "bare": f"authentication failed: {password} is wrong",
        "encoded": f"{quote(password, safe='')} and {quote_plus(password)} and {quote(password)}",
        "JSON": json.dumps({"command": ["run", address], "password": password}, ensure_ascii=False),
        "a page": html.escape(f'<a href="{address}">{password}</a>'),
    }
    with mock.patch.dict(os.environ, {"MLFLOW_TRACKING_URI": address}):
        for how, text in said.items():
            shown = redacted(text)
            assert password not in shown, how
            assert given_as not in shown, how
            assert "host.example" in shown or "host.example" not in text, how


@pytest.mark.parametrize(
    "text", ["http://me:secret@host:5000", "postgresql://me:sec/ret@host/x", "failed at https://me:secret@host/a?b"]
)
def test_an_address_that_is_not_known_here_loses_its_password_too(text: str) -> None:
    assert "ret@" not in redacted(text)
    assert "host" in redacted(text)


def test_what_variables_are_named_for_is_not_said_and_other_words_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", "hunter2hunter2")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://mlflow:mlflow@host:5000")
    said = "python -m mlflow ui: hunter2hunter2 refused, hunter2hunter22 is another word, https://example.org/a"
    assert redacted(said) == "python -m mlflow ui: … refused, hunter2hunter22 is another word, https://example.org/a"
    assert redacted("at http://mlflow:mlflow@host:5000") == "at http://…@host:5000"


def test_not_even_a_librarys_print_or_a_traceback_says_it() -> None:
    program = (
        "import os, sys; from data_prep.terminal import settle_output; settle_output()\n"
        "address = os.environ['MLFLOW_TRACKING_URI']\n"
        "print('at', address); sys.stdout.writelines([address, '\\n'])\n"
        "raise RuntimeError(f'{address}: no such host')\n"
    )
    env = {**os.environ, "PYTHONPATH": str(ROOT), "MLFLOW_TRACKING_URI": "http://me:p%40ss%2Fw%3Ard@host:5000"}
    answer = subprocess.run([sys.executable, "-c", program], env=env, capture_output=True, text=True)
    assert answer.stdout == "at http://…@host:5000\nhttp://…@host:5000\n"
    assert "RuntimeError: http://…@host:5000: no such host" in answer.stderr
    assert "p%40ss" not in answer.stderr
