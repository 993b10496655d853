"""Where published puzzles come from: `--source hub` fetches them from the Hugging Face Hub, checked and kept.

A file is used only if its SHA-256 is the expected one: the one in PUBLISHED where it is known, else the one that the
hub states. A fetch that broke off, killed or cut, goes on where it was. What was fetched once is used from then on,
without a network. HF_ENDPOINT names a mirror, HF_HOME where files are kept. No token and no telemetry is sent.
"""

import contextlib
import errno
import fcntl
import hashlib
import json
import os
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO
from urllib.parse import urlsplit

from data_prep.files import read_json, whole
from data_prep.puzzle_set import PuzzleError

HUB = "https://huggingface.co"
FETCHED = "fetched.json"  # written last: revision and SHA-256 of each file
HEADERS = {
    "user-agent": "trm-ablations",
    "accept-encoding": "identity",
}  # compressed, no part of a file can be asked for
TIMEOUT_S = 10.0
GETS_ON_WITHIN_S = 300.0  # who fetches: the checksum of a large file is read in less
LOOK_AGAIN_S = 0.2
NO_FLOCK = (errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOLCK)  # of a file system that has no locks
ARC_SOURCES = ("fchollet/ARC-AGI", "arcprize/ARC-AGI-2", "victorvikram/ConceptARC")


class CannotFetch(PuzzleError):
    """The hub cannot be reached or does not have what it should, or what it sends cannot be kept."""


class BadChecksum(PuzzleError):
    """A file with another SHA-256 than the published one; it is never used."""


@dataclass(frozen=True)
class Published:
    """A data set of the hub. files: the SHA-256 of each file, None where it is for the hub to state."""

    repo: str
    files: Mapping[str, str | None]
    licence: str
    revision: str = "main"


PUBLISHED = {
    "sudoku-extreme": Published(
        "sapientinc/sudoku-extreme",
        {"train.csv": None, "test.csv": None},
        licence="as sapientinc/sudoku-extreme states; puzzles of community lists whose compilers state none",
    ),
    "maze-30x30-hard-1k": Published(
        "sapientinc/maze-30x30-hard-1k",
        {  # of revision 549754de…
            "train.csv": "25f9e39b5aee16967da41ba63b2d1d75cf608c2360d8a1419d827f9859dbafa0",
            "test.csv": "5120d52088fb3f8036e62e90103808a79ba58847d8601f9451f40991b0903a62",
        },
        licence="none stated by sapientinc/maze-30x30-hard-1k: for research, no right to redistribute",
    ),
}


def fetch(dataset: str | Published, *, cache: Path | None = None) -> Path:
    """The folder with the files of a data set (a name in PUBLISHED, or one described), fetched if they are not there.

    cache: where it is kept instead of the library's own folder for such things (HF_HOME). Raises CannotFetch, or
    BadChecksum with the file, what was found and what was expected.
    """
    published = PUBLISHED[dataset] if isinstance(dataset, str) else dataset
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")  # read when the library is imported
    with _told(published):
        from huggingface_hub import cached_assets_path

        folder = cached_assets_path("trm-ablations", published.repo, published.revision, assets_dir=cache)
        if not _is_whole(folder, published):
            with _in_turn(folder):
                if not _is_whole(folder, published):  # nobody else has fetched it in the meantime
                    _fetch_all(folder, published)
    return folder


@contextmanager
def _in_turn(folder: Path) -> Iterator[None]:
    """Alone among those who would fetch into this folder; all at once where the file system has no locks.

    One who gets on is waited for, however long that takes: his files grow. Raises CannotFetch where none does, since a
    machine that has died may keep its lock for good on NFS.
    """
    with (folder / ".lock").open("w") as lock:
        there, since, said = _sizes(folder), time.monotonic(), False
        while not _locked(lock):
            if not said:
                print(f"waiting for another process, which fetches into {folder}", file=sys.stderr)
                said = True
            time.sleep(LOOK_AGAIN_S)
            if (now := _sizes(folder)) != there:
                there, since = now, time.monotonic()
            elif time.monotonic() - since > GETS_ON_WITHIN_S:
                raise CannotFetch(
                    f"{folder}: another process holds its lock and has fetched nothing for {GETS_ON_WITHIN_S:.0f} s, "
                    f"expected it to get on; end it, or where it died with its machine delete {folder / '.lock'}, and "
                    "give the same command again"
                )
        yield


def _locked(lock: IO[str]) -> bool:
    """Whether a file is locked for us now, or would be if its file system had locks."""
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        if error.errno not in NO_FLOCK:
            raise
    return True


def _sizes(folder: Path) -> dict[str, int]:
    """Every file's bytes so far."""
    found = {}
    for path in folder.iterdir():
        with contextlib.suppress(FileNotFoundError):  # it has just got its name
            found[path.name] = path.stat().st_size
    return found


def find(source: str | Path, dataset: str) -> tuple[Path, str]:
    """The folder of a data set's files and their licence; source: "hub", or the folder itself."""
    if str(source) == "hub":
        return fetch(dataset), PUBLISHED[dataset].licence
    return Path(source), "as the source files state"


def origin_of(folder: Path, sha256: Mapping[str, str]) -> tuple[bool, str]:
    """(whether a folder's files are a published data set's, what they are in words), by the SHA-256 of each.

    Where the checksum of a published file is for the hub to state, it is the one noted beside it when it was fetched.
    """
    for published in PUBLISHED.values():
        known = published.files if all(published.files.values()) else _stated(folder, published)
        if known and dict(known) == dict(sha256):
            return True, f"{published.repo}, as published"
    return False, f"own files ({', '.join(f'{name} {digest[:12]}' for name, digest in sha256.items())})"


def _stated(folder: Path, published: Published) -> Mapping[str, str | None]:
    """The checksums that the hub had stated when a folder's files were fetched; none where they were not."""
    try:
        record = read_json(folder / FETCHED)
        return dict(record["sha256"]) if record["repo"] == published.repo else {}
    except (OSError, ValueError, LookupError, TypeError):
        return {}


def no_hub_for_arc() -> str:
    """What to tell someone who asks for ARC from the hub."""
    return (
        "source hub: ARC is not kept on the hub under a name of its publishers, expected a folder; clone "
        f"{', '.join(f'https://github.com/{repo}' for repo in ARC_SOURCES)} (data/training/*.json and so on), or take "
        "the ARC Prize files of Kaggle (*_challenges.json with *_solutions.json), and give that folder (--source)"
    )


def _endpoint() -> str:
    """The hub's address, read when it is needed; the library reads it once, when it is imported."""
    address = (os.environ.get("HF_ENDPOINT") or HUB).rstrip("/")
    try:
        _ = urlsplit(address).port
    except ValueError as error:
        raise CannotFetch(
            f"{address}: no address ({error}), expected one such as {HUB}; correct HF_ENDPOINT"
        ) from error
    return address


def _is_whole(folder: Path, published: Published) -> bool:
    """Whether every file is there, as it was when it was fetched; BadChecksum for one that changed since."""
    record = folder / FETCHED
    if not record.is_file():
        return False
    try:
        kept = dict(read_json(record)["sha256"])
    except (ValueError, LookupError, TypeError):
        return False  # no record of ours
    if any(kept.get(name) is None or known not in (None, kept[name]) for name, known in published.files.items()):
        return False  # fetched before the checksum was known
    for name in published.files:
        found = _sha256(folder / name) if (folder / name).is_file() else "none (no such file)"
        if found != kept[name]:
            raise BadChecksum(
                f"{folder / name}: SHA-256 {found}, expected {kept[name]}, as it was fetched; "
                "delete the folder and give the same command again"
            )
    return True


def _fetch_all(folder: Path, published: Published) -> None:
    """Every file, each first under another name; then the record that makes the folder count."""
    from huggingface_hub import HfApi, hf_hub_url

    try:
        info = HfApi(endpoint=_endpoint(), token=False).dataset_info(
            published.repo, revision=published.revision, files_metadata=True, timeout=TIMEOUT_S
        )
    except (json.JSONDecodeError, KeyError, TypeError) as error:
        raise CannotFetch(
            f"{_endpoint()}: answers, but not as a hub does, expected what it knows of {published.repo}; "
            "correct HF_ENDPOINT, or give a folder with its files (--source, --data FOLDER)"
        ) from error
    there = {file.rfilename: file for file in info.siblings or ()}
    revision, sums = info.sha or published.revision, {}
    for name, known in published.files.items():
        file = there.get(name)
        stated = file.lfs.sha256 if file is not None and file.lfs is not None else None
        expected = known or stated
        if file is None or expected is None:
            lacks = "file of that name" if file is None else "SHA-256 for it"
            raise CannotFetch(
                f"{published.repo}, {name}: the hub has no {lacks} at revision {revision}, expected one; fetch the "
                "file by hand and give its folder (--source, --data FOLDER)"
            )
        if stated is not None and stated != expected:
            raise BadChecksum(_differs(published, name, revision, stated, expected))
        if not (folder / name).is_file() or _sha256(folder / name) != expected:
            url = hf_hub_url(published.repo, name, repo_type="dataset", revision=revision, endpoint=_endpoint())
            partial = folder / f"{name}.{expected[:12]}.partial"
            _download(url, partial, name, file.size)
            found = _sha256(partial)
            if found != expected:
                partial.unlink()
                raise BadChecksum(_differs(published, name, revision, found, expected))
            partial.replace(folder / name)
        sums[name] = expected
    with whole(folder / FETCHED) as record:
        record.write_text(json.dumps({"repo": published.repo, "revision": revision, "sha256": sums}, indent=2) + "\n")


def _download(url: str, partial: Path, name: str, size: int | None) -> None:
    """The bytes of a file that `partial` does not hold yet. The library goes on after a cut connection, too."""
    from huggingface_hub.file_download import http_get

    if size is not None and partial.is_file() and partial.stat().st_size > size:
        partial.unlink()
    with partial.open("ab") as file:
        http_get(url, file, resume_size=file.tell(), headers=dict(HEADERS), expected_size=size, displayed_filename=name)


def _differs(published: Published, name: str, revision: str, found: str, expected: str) -> str:
    return (
        f"{published.repo}, {name} at revision {revision}: SHA-256 {found}, expected {expected}; the file is not used: "
        "give the command again, or a folder with the published file (--source, --data FOLDER)"
    )


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextmanager
def _told(published: Published) -> Iterator[None]:
    """What the network, the hub and the disk can refuse, in one line that says what to do."""
    at, wanted = _endpoint(), " and ".join(published.files)
    import httpx2
    from huggingface_hub.errors import HfHubHTTPError, OfflineModeIsEnabled

    by_folder = f"or give a folder with {wanted} (--source, --data FOLDER)"
    try:
        yield
    except HfHubHTTPError as error:
        raise CannotFetch(
            f"{at}: answers {error.response.status_code} for {published.repo}, expected {wanted}; try again later, "
            f"name another hub (HF_ENDPOINT), {by_folder}"
        ) from error
    except (httpx2.HTTPError, httpx2.InvalidURL) as error:
        why = " ".join(f"{type(error).__name__}: {error}".split())
        raise CannotFetch(
            f"{at}: cannot be reached ({why}), expected {wanted} of {published.repo}; connect and give the command "
            f"again (it goes on where it was), name a mirror (HF_ENDPOINT), {by_folder}"
        ) from error
    except OfflineModeIsEnabled as error:
        raise CannotFetch(
            f"{at}: HF_HUB_OFFLINE is set and {published.repo} was not fetched before, expected {wanted}; unset it, "
            f"{by_folder}"
        ) from error
    except PuzzleError:
        raise
    except ValueError as error:  # a proxy or a folder that the libraries cannot make sense of
        raise CannotFetch(
            f"{at}: cannot be asked ({' '.join(str(error).split())}), expected {wanted} of {published.repo}; correct "
            f"HTTPS_PROXY or HF_HOME, whichever that is, {by_folder}"
        ) from error
    except OSError as error:
        raise CannotFetch(
            f"{published.repo}: cannot be kept ({' '.join(str(error).split())}), expected room for {wanted}; make "
            f"room, set HF_HOME to another folder, {by_folder}"
        ) from error
