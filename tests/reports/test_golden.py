"""No byte of a report's texts changes unless somebody means it to."""

from __future__ import annotations

from tests.reports.golden import FOLDER, files


def test_markdown_csv_and_latex_of_a_small_study_are_kept_byte_for_byte() -> None:
    found = files()
    kept = {path.name: path.read_bytes() for path in FOLDER.iterdir()}
    assert sorted(found) == sorted(kept)
    for name, content in found.items():
        assert content.decode() == kept[name].decode(), f"{name}; if that is meant: python -m tests.reports.golden"
        assert content == kept[name], name
