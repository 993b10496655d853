from pathlib import Path

import pytest

from sweeps.records import provenance

COMMIT = "0123456789abcdef0123456789abcdef01234567"
OTHER = "f" * 40


@pytest.mark.parametrize(
    ("noted", "told", "commit", "dirty"),
    [
        (f"{COMMIT}\n", None, COMMIT, "no"),
        (f"{COMMIT} dirty\n", None, COMMIT, "yes"),
        ("main; rm -rf /\n", None, "unknown", "unknown"),
        (None, None, "unknown", "unknown"),
        (None, COMMIT, COMMIT, "no"),
        (f"{OTHER}\n", f"{COMMIT} dirty", COMMIT, "yes"),
        (f"{OTHER}\n", "main; rm -rf /", OTHER, "no"),
    ],
)
def test_without_git_a_run_has_the_commit_that_was_noted_when_the_code_was_copied(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, noted: str | None, told: str | None, commit: str, dirty: str
) -> None:
    monkeypatch.setattr(provenance, "__file__", str(tmp_path / "sweeps" / "records" / "provenance.py"))
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    (tmp_path / "sweeps" / "records").mkdir(parents=True)
    monkeypatch.delenv("TRM_COMMIT", raising=False)
    if told is not None:
        monkeypatch.setenv("TRM_COMMIT", told)
    if noted is not None:
        (tmp_path / "COMMIT").write_text(noted)
    tags = provenance.tags()
    assert (tags["commit"], tags["dirty"]) == (commit, dirty)


def test_a_stale_variable_does_not_take_the_place_of_git(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRM_COMMIT", OTHER)
    if (Path(provenance.__file__).parents[2] / ".git").exists():
        assert provenance.tags()["commit"] != OTHER
