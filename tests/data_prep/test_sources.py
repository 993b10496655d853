import errno
import fcntl
import hashlib
import json
import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace

import pytest
from huggingface_hub import cached_assets_path

from data_prep.maze import build_maze
from data_prep.sources import (
    FETCHED,
    GETS_ON_WITHIN_S,
    PUBLISHED,
    BadChecksum,
    CannotFetch,
    Published,
    fetch,
    no_hub_for_arc,
    origin_of,
)
from data_prep.sudoku import build_sudoku, from_csv
from tests.data_prep.hub_server import COMMIT, Hub, serving

ROOT = Path(__file__).parents[2]
MAZES = ROOT / "tests" / "fixtures" / "maze-30x30-hard-gen"
NOWHERE = "http://127.0.0.1:9"  # the discard port: nobody listens
MEGABYTE = 1 << 20
LARGE = {
    "train.csv": bytes(range(256)) * (24 * MEGABYTE // 256),
    "test.csv": b"small",
}  # the library asks for 10 MB each


def files_of(folder: Path) -> dict[str, bytes]:
    return {name: (folder / name).read_bytes() for name in ("train.csv", "test.csv")}


def described(hub: Hub, **known: str) -> Published:
    files = {name: known.get(name.removesuffix(".csv")) for name in ("train.csv", "test.csv")}
    return Published(hub.repo, files, licence="ours")


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


@pytest.fixture
def hub(sudoku_extreme: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    """A hub that has the Sudokus of the fixture, and is the one that is asked."""
    with serving(Hub("sapientinc/sudoku-extreme", files_of(sudoku_extreme))) as hub:
        monkeypatch.setenv("HF_ENDPOINT", hub.address)
        yield hub


def test_files_are_fetched_once_and_from_then_on_used_without_a_network(
    hub: Hub, sudoku_extreme: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = fetch("sudoku-extreme", cache=tmp_path)
    assert files_of(folder) == files_of(sudoku_extreme)
    assert hub.asked == [("train.csv", None), ("test.csv", None)]
    assert COMMIT in (folder / "fetched.json").read_text()
    monkeypatch.setenv("HF_ENDPOINT", NOWHERE)
    assert fetch("sudoku-extreme", cache=tmp_path) == folder
    assert len(hub.asked) == 2


def test_of_several_who_fetch_at_once_one_does(hub: Hub, tmp_path: Path) -> None:
    with ThreadPoolExecutor(4) as pool:
        folders = set(pool.map(lambda _: fetch("sudoku-extreme", cache=tmp_path), range(4)))
    assert [files_of(folder) for folder in folders] == [hub.files]
    assert hub.asked == [("train.csv", None), ("test.csv", None)]


class Lock:
    """Held by somebody else in the folder that is fetched into, on a clock of its own that only sleep moves."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder, self.now, self.path = folder, 0.0, folder / ".lock"
        folder.mkdir()
        self.file = self.path.open("w")
        fcntl.flock(self.file, fcntl.LOCK_EX)
        self.meanwhile: Callable[[], None] = lambda: None
        monkeypatch.setattr("data_prep.sources.time", SimpleNamespace(monotonic=lambda: self.now, sleep=self.sleep))

    def sleep(self, _: float) -> None:
        self.now += GETS_ON_WITHIN_S / 3
        self.meanwhile()


@pytest.fixture
def lock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Lock]:
    folder = cached_assets_path("trm-ablations", "sapientinc/sudoku-extreme", "main", assets_dir=tmp_path)
    folder.rmdir()
    found = Lock(folder, monkeypatch)
    yield found
    found.file.close()


def test_one_who_fetches_is_waited_for_as_long_as_his_files_grow(
    hub: Hub, lock: Lock, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    partial = lock.folder / "large.partial"

    def grow() -> None:
        with partial.open("a") as file:
            file.write("more")
        if partial.stat().st_size == 4 * 9:
            lock.file.close()

    lock.meanwhile = grow
    assert files_of(fetch("sudoku-extreme", cache=tmp_path)) == hub.files
    assert lock.now == 9 * GETS_ON_WITHIN_S / 3
    assert capsys.readouterr().err == f"waiting for another process, which fetches into {lock.folder}\n"


def test_the_lock_of_one_who_died_with_his_machine_is_no_wait_for_ever_and_deleted_it_is_in_nobodys_way(
    hub: Hub, lock: Lock, tmp_path: Path
) -> None:
    with pytest.raises(CannotFetch, match=rf"has fetched nothing for 300 s, .* delete {lock.path}, and"):
        fetch("sudoku-extreme", cache=tmp_path)
    assert hub.asked == []
    lock.path.unlink()
    assert files_of(fetch("sudoku-extreme", cache=tmp_path)) == hub.files


def test_a_file_system_without_locks_is_no_trouble_and_any_other_is_said(
    hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    number = errno.EIO

    def broken(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(fcntl, "flock", broken)
    with pytest.raises(CannotFetch, match="cannot be kept .*Input/output error"):
        fetch("sudoku-extreme", cache=tmp_path)
    number = errno.ENOSYS
    assert files_of(fetch("sudoku-extreme", cache=tmp_path)) == hub.files


def test_a_cut_connection_is_taken_up_where_it_broke(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with serving(Hub("us/large", LARGE, cut_after=12 * MEGABYTE)) as hub:
        monkeypatch.setenv("HF_ENDPOINT", hub.address)
        assert files_of(fetch(described(hub), cache=tmp_path)) == LARGE
    assert hub.asked == [("train.csv", None), ("train.csv", f"bytes={10 * MEGABYTE}-"), ("test.csv", None)]


FETCH = """
import sys
from pathlib import Path
from data_prep.sources import Published, fetch
fetch(Published("us/large", {"train.csv": None, "test.csv": None}, licence="ours"), cache=Path(sys.argv[1]))
"""


def test_a_killed_fetch_is_never_used_and_the_next_goes_on_where_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with serving(Hub("us/large", LARGE, cut_after=12 * MEGABYTE, stall=True)) as hub:
        monkeypatch.setenv("HF_ENDPOINT", hub.address)
        child = subprocess.Popen([sys.executable, "-c", FETCH, str(tmp_path)], cwd=ROOT, stderr=subprocess.DEVNULL)
        assert hub.stalled.wait()
        (partial,) = wait_for(lambda: [p for p in tmp_path.rglob("*.partial") if p.stat().st_size == 10 * MEGABYTE])
        os.kill(child.pid, signal.SIGKILL)
        assert child.wait() == -9
        assert list(tmp_path.rglob("*.csv")) == []
        hub.cut_after = None
        assert files_of(fetch(described(hub), cache=tmp_path)) == LARGE
    assert hub.asked[1] == ("train.csv", f"bytes={10 * MEGABYTE}-")
    assert not partial.exists()


def wait_for(find: Callable[[], list[Path]]) -> list[Path]:
    """What is found, once something is."""
    while not (found := find()):
        time.sleep(0.01)
    return found


@pytest.mark.parametrize("by", ["the hub", "the table"])
def test_a_file_with_another_checksum_is_refused_by_name_and_not_kept(by: str, hub: Hub, tmp_path: Path) -> None:
    hub.states_sha256 = by == "the hub"
    hub.stated = {"test.csv": "0" * 64}
    train, test = sha256(hub.files["train.csv"]), "0" * 64
    published = described(hub) if by == "the hub" else described(hub, train=train, test=test)
    with pytest.raises(
        BadChecksum,
        match=rf"sapientinc/sudoku-extreme, test\.csv at revision {COMMIT}: SHA-256 {sha256(hub.files['test.csv'])}, "
        rf"expected {test}; the file is not used",
    ):
        fetch(published, cache=tmp_path)
    assert [path.name for path in tmp_path.rglob("*") if "test" in path.name] == []
    hub.stated, hub.states_sha256 = {}, True
    assert files_of(fetch(described(hub), cache=tmp_path)) == hub.files
    assert [name for name, _ in hub.asked] == ["train.csv", "test.csv", "test.csv"]  # what was right, once


def test_what_the_hub_states_is_held_against_the_table_before_anything_is_fetched(hub: Hub, tmp_path: Path) -> None:
    with pytest.raises(BadChecksum, match=r"train\.csv at revision .* expected ffff"):
        fetch(described(hub, train="f" * 64), cache=tmp_path)
    assert hub.asked == []


def test_a_kept_file_that_changed_is_named_and_not_used(hub: Hub, tmp_path: Path) -> None:
    folder = fetch("sudoku-extreme", cache=tmp_path)
    (folder / "test.csv").write_bytes(b"other")
    with pytest.raises(BadChecksum, match=rf"test\.csv: SHA-256 {sha256(b'other')}, expected .*; delete the folder"):
        fetch("sudoku-extreme", cache=tmp_path)
    (folder / "test.csv").unlink()
    with pytest.raises(BadChecksum, match="no such file"):
        fetch("sudoku-extreme", cache=tmp_path)


def test_a_file_whose_checksum_nobody_knows_and_one_that_is_not_there_are_refused(hub: Hub, tmp_path: Path) -> None:
    hub.states_sha256 = False
    with pytest.raises(CannotFetch, match=r"train\.csv: the hub has no SHA-256 for it at revision"):
        fetch("sudoku-extreme", cache=tmp_path)
    del hub.files["train.csv"]
    with pytest.raises(CannotFetch, match=r"train\.csv: the hub has no file of that name"):
        fetch("sudoku-extreme", cache=tmp_path)


@pytest.mark.parametrize(
    ("endpoint", "told"),
    [
        (
            NOWHERE,
            r"^http://127\.0\.0\.1:9: cannot be reached \(ConnectError: .*HF_ENDPOINT.*--source, --data FOLDER\)$",
        ),
        ("nonsense", r"^nonsense: cannot be reached \(UnsupportedProtocol: "),
        ("http://hub:port", r"^http://hub:port: no address \(.*\), expected one such as .*; correct HF_ENDPOINT$"),
        ("http://[hub", r"^http://\[hub: no address \(Invalid IPv6 URL\), "),
    ],
)
def test_without_a_network_one_line_says_what_to_do(
    endpoint: str, told: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_ENDPOINT", endpoint)
    with pytest.raises(CannotFetch, match=told) as caught:
        fetch("sudoku-extreme", cache=tmp_path)
    assert "\n" not in str(caught.value)


def test_a_cache_below_a_file_is_named(hub: Hub, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(CannotFetch, match=r"cannot be asked \(.*existing file.*\), .*or HF_HOME") as caught:
        fetch("sudoku-extreme", cache=tmp_path / "file")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("record", ["", "{", "[]", "{}", '{"sha256": 3}'])
def test_a_spoilt_record_of_what_was_fetched_is_written_anew(record: str, hub: Hub, tmp_path: Path) -> None:
    folder = fetch("sudoku-extreme", cache=tmp_path)
    (folder / "fetched.json").write_text(record)
    assert files_of(fetch("sudoku-extreme", cache=tmp_path)) == hub.files
    assert json.loads((folder / "fetched.json").read_text())["sha256"].keys() == hub.files.keys()
    assert len(hub.asked) == 2  # the files were right


def test_a_hub_that_does_not_know_the_data_set_is_named(hub: Hub, tmp_path: Path) -> None:
    with pytest.raises(CannotFetch, match=r"answers 404 for us/unknown, expected train\.csv and test\.csv; .*--source"):
        fetch(Published("us/unknown", {"train.csv": None, "test.csv": None}, licence="ours"), cache=tmp_path)


@pytest.mark.parametrize("page", [b"<html>Please log in</html>", b"[]", b"{}"])
def test_an_address_that_is_no_hub_is_named(page: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Portal(Hub):
        def facts(self) -> bytes:
            return page

    with serving(Portal("sapientinc/sudoku-extreme", {})) as portal:
        monkeypatch.setenv("HF_ENDPOINT", portal.address)
        with pytest.raises(CannotFetch, match=r"answers, but not as a hub does, .*correct HF_ENDPOINT"):
            fetch("sudoku-extreme", cache=tmp_path)


def test_a_disk_that_fills_is_named_and_the_fetch_goes_on_once_there_is_room(tmp_path: Path, hub: Hub) -> None:
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limits[1]))  # bytes a file may have, a real refusal by the system
    try:
        with pytest.raises(CannotFetch, match=r"cannot be kept \(.*File too large.*make room, set HF_HOME"):
            fetch("sudoku-extreme", cache=tmp_path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert list(tmp_path.rglob("*.csv")) == []
    assert files_of(fetch("sudoku-extreme", cache=tmp_path)) == hub.files


def test_a_set_built_from_the_hub_is_the_one_built_from_the_folder_but_for_what_is_known_of_it(
    hub: Hub, sudoku_extreme: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("huggingface_hub.utils._cache_assets.HF_ASSETS_CACHE", str(tmp_path / "cache"))
    built = build_sudoku(tmp_path / "set", source="hub", train=20, validation=5)
    read = from_csv(sudoku_extreme, train=20, validation=5, seed=0)
    assert built.manifest.published
    assert built.manifest.origin == "sapientinc/sudoku-extreme, as published"
    assert not read.manifest.published
    assert read.manifest.origin.startswith("own files (train.csv ")
    by_hub = {"licence": PUBLISHED["sudoku-extreme"].licence, "published": True, "origin": built.manifest.origin}
    assert built.manifest == read.manifest.model_copy(update=by_hub)
    assert build_sudoku(tmp_path / "set", source="hub", train=20, validation=5).manifest == built.manifest
    assert len(hub.asked) == 2


def test_other_mazes_than_the_published_ones_are_refused_by_their_checksum(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with serving(Hub("sapientinc/maze-30x30-hard-1k", files_of(MAZES), states_sha256=False)) as hub:
        monkeypatch.setenv("HF_ENDPOINT", hub.address)
        monkeypatch.setattr("huggingface_hub.utils._cache_assets.HF_ASSETS_CACHE", str(tmp_path / "cache"))
        with pytest.raises(BadChecksum, match=r"train\.csv at .*, expected 25f9e39b5aee1696"):
            build_maze(tmp_path / "set", source="hub")
        monkeypatch.setitem(PUBLISHED, "maze-30x30-hard-1k", described(hub, **{
            name.removesuffix(".csv"): sha256(data) for name, data in hub.files.items()
        }))  # fmt: skip
        assert build_maze(tmp_path / "set", source="hub", validation=0).manifest.licence == "ours"


def test_the_command_fetches_and_without_a_network_ends_in_one_line(sudoku_extreme: Path, tmp_path: Path) -> None:
    def command(endpoint: str, out: str) -> subprocess.CompletedProcess[str]:
        asked = ["--source", "hub", "--out", str(tmp_path / out), "--train", "20", "--validation", "5"]
        where = {"HF_ENDPOINT": endpoint, "HF_HOME": str(tmp_path / "home" / out), "HF_HUB_DISABLE_PROGRESS_BARS": "1"}
        return subprocess.run(
            [sys.executable, "-m", "data_prep", "sudoku", *asked],
            cwd=ROOT, env={**os.environ, **where},
            capture_output=True, text=True, check=False,
        )  # fmt: skip

    with serving(Hub("sapientinc/sudoku-extreme", files_of(sudoku_extreme))) as hub:
        ended = command(hub.address, "fetched")
    assert (ended.returncode, ended.stderr) == (0, "")
    assert "puzzles: train 20, validation 5, test 120" in ended.stdout
    ended = command(NOWHERE, "unreachable")
    assert (ended.returncode, ended.stdout, ended.stderr.count("\n")) == (2, "", 1)
    assert not (tmp_path / "unreachable").exists()


def test_arc_is_pointed_to_where_it_is_kept() -> None:
    told = no_hub_for_arc()
    assert "\n" not in told
    for name in ("fchollet/ARC-AGI", "arcprize/ARC-AGI-2", "victorvikram/ConceptARC", "_challenges.json", "--source"):
        assert name in told


def test_nothing_of_the_hub_is_loaded_before_it_is_asked() -> None:
    asked = "import sys, data_prep.__main__; print(*sorted({'huggingface_hub', 'httpx2'} & set(sys.modules)))"
    answer = subprocess.run([sys.executable, "-c", asked], cwd=ROOT, capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == ""


def test_files_are_published_by_their_checksums_alone(tmp_path: Path) -> None:
    mazes = {name: digest or "" for name, digest in PUBLISHED["maze-30x30-hard-1k"].files.items()}
    assert origin_of(tmp_path, mazes) == (True, "sapientinc/maze-30x30-hard-1k, as published")
    assert origin_of(tmp_path, {**mazes, "test.csv": "0" * 64}) == (
        False,
        "own files (train.csv 25f9e39b5aee, test.csv 000000000000)",
    )
    assert origin_of(tmp_path, {})[0] is False


def test_a_copy_of_what_was_fetched_is_published_while_it_is_as_the_hub_stated(tmp_path: Path) -> None:
    sums = {"train.csv": "1" * 64, "test.csv": "2" * 64}
    assert not origin_of(tmp_path, sums)[0]
    (tmp_path / FETCHED).write_text(json.dumps({"repo": "sapientinc/sudoku-extreme", "sha256": sums}))
    assert origin_of(tmp_path, sums) == (True, "sapientinc/sudoku-extreme, as published")
    assert not origin_of(tmp_path, {**sums, "test.csv": "3" * 64})[0]
    for torn in ('{"repo": "sapientinc/sudoku-extreme"}', "[" * 100_000, "7", "{"):
        (tmp_path / FETCHED).write_text(torn)
        assert not origin_of(tmp_path, sums)[0]
