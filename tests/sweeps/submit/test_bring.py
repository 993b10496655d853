import io
import tarfile
from collections.abc import Sequence
from pathlib import Path

import pytest

from sweeps.cluster.login import Login
from sweeps.submit import bring as bringing
from sweeps.submit.bring import Brought, NotBrought, bring, unpack

HOMES = ("mini/held",)


def archive(*members: tuple[str, bytes | tarfile.TarInfo]) -> io.BytesIO:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as packed:
        for name, content in members:
            entry = content if isinstance(content, tarfile.TarInfo) else tarfile.TarInfo(name)
            entry.name = name
            if isinstance(content, bytes):
                entry.size = len(content)
            packed.addfile(entry, io.BytesIO(content) if isinstance(content, bytes) else None)
    stream.seek(0)
    return stream


def special(kind: bytes, target: str = "") -> tarfile.TarInfo:
    entry = tarfile.TarInfo()
    entry.type, entry.linkname = kind, target
    return entry


def test_a_report_comes_back_file_by_file_and_takes_the_place_of_an_older_one(tmp_path: Path) -> None:
    (tmp_path / "mini" / "held").mkdir(parents=True)
    (tmp_path / "mini" / "held" / "table.md").write_text("old")
    stream = archive(
        ("mini/held", special(tarfile.DIRTYPE)),
        ("mini/held/table.md", b"new"),
        ("mini/held/curves.parquet", b"PAR1"),
        ("mini/held/lr=0.003/figures/a figure.png", b"png"),
    )
    files = ("mini/held/table.md", "mini/held/curves.parquet", "mini/held/lr=0.003/figures/a figure.png")
    assert unpack(stream, HOMES, tmp_path) == Brought(files, 0)
    assert (tmp_path / "mini" / "held" / "table.md").read_text() == "new"
    assert sum(path.is_file() for path in tmp_path.rglob("*")) == 3


@pytest.mark.parametrize(
    "member",
    [
        ("/mini/held/table.md", b"1"),
        ("mini/held/../../../outside.md", b"1"),
        ("mini/held/../other/table.md", b"1"),
        ("mini/other/table.md", b"1"),
        ("official/held/table.md", b"1"),
        ("mini/held/.bashrc.md", b"1"),
        ("mini/held/.git/hooks.md", b"1"),
        ("mini/held/run.py", b"1"),
        ("mini/held/weights.safetensors", b"1"),
        ("mini/held/a\x1b[2Jb.md", b"1"),
        ("mini/held/a/b/c/d/e.md", b"1"),
        ("held.md", b"1"),
        ("mini/held/link.md", special(tarfile.SYMTYPE, "/etc/passwd")),
        ("mini/held/link.md", special(tarfile.LNKTYPE, "mini/held/table.md")),
        ("mini/held/pipe.md", special(tarfile.FIFOTYPE)),
    ],
    ids=lambda member: repr(member[0]),
)
def test_what_is_no_part_of_a_report_is_left_where_it_is(
    tmp_path: Path, member: tuple[str, bytes | tarfile.TarInfo]
) -> None:
    into = tmp_path / "into"
    into.mkdir()
    assert unpack(archive(member), HOMES, into) == Brought((), 1)
    assert [path for path in tmp_path.rglob("*") if not path.is_dir()] == []


def test_a_link_that_leads_out_of_the_folder_is_not_followed(tmp_path: Path) -> None:
    into, outside = tmp_path / "into", tmp_path / "outside"
    (into / "mini").mkdir(parents=True)
    outside.mkdir()
    (into / "mini" / "held").symlink_to(outside)
    assert unpack(archive(("mini/held/table.md", b"1")), HOMES, into) == Brought((), 1)
    assert list(outside.iterdir()) == []


@pytest.mark.parametrize(("limit", "most"), [("MOST_BYTES", 5), ("MOST_FILES", 1)])
def test_an_archive_without_end_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit: str, most: int
) -> None:
    monkeypatch.setattr(bringing, limit, most)
    with pytest.raises(NotBrought, match="a report has fewer"):
        unpack(archive(("mini/held/a.md", b"123"), ("mini/held/b.md", b"123")), HOMES, tmp_path)


# --- by a stand-in for ssh that runs the words here ------------------------------------------------------------------


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Login:
    """A login to this machine."""
    program = tmp_path / "bin" / "ssh"
    program.parent.mkdir()
    program.write_text('#!/usr/bin/env bash\neval "${@: -1}"\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:/usr/bin:/bin")
    return Login("somebody@here", (), "here.yaml")


def laid_out(folder: Path, names: Sequence[str]) -> Path:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("1")
    return folder


def test_reports_of_every_profile_are_brought_and_nothing_else(here: Login, tmp_path: Path) -> None:
    names = ("mini/held/table.md", "fast/held/page.html", "mini/other/table.md", "runs/0/checkpoints/x.safetensors")
    out = laid_out(tmp_path / "it's $HOME; there", names)
    assert sorted(bring(here, str(out), "held", [], tmp_path / "back").files) == ["fast/held/page.html", names[0]]
    assert bring(here, str(out), "held", ["mini"], tmp_path / "again").files == (names[0],)


@pytest.mark.parametrize(
    ("out", "name", "why"),
    [
        ("{}/nowhere", "held", "was not brought"),
        ("{}", "held", "no report of held"),
        ("relative", "held", "no folder and study"),
        ("{}", "../held", "no folder and study"),
        ("{}", "held; touch hacked", "no folder and study"),
    ],
)
def test_where_there_is_no_report_it_is_said(here: Login, tmp_path: Path, out: str, name: str, why: str) -> None:
    with pytest.raises(NotBrought, match=why):
        bring(here, out.format(tmp_path), name, ["../..", "mini"], tmp_path / "back")
    assert not (tmp_path / "back").exists()
