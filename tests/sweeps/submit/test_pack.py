import subprocess
import zipfile
from pathlib import Path

import pytest

from sweeps.submit import pack as packing
from sweeps.submit.pack import TooLarge, pack


def git(folder: Path, *arguments: str) -> str:
    who = ["-c", "user.name=x", "-c", "user.email=x@example.org"]
    return subprocess.run(["git", *who, *arguments], cwd=folder, check=True, capture_output=True, text=True).stdout


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A repository: a file that is tracked, one that is new, one that is ignored, one that is gone, a link outside."""
    root = tmp_path / "tree"
    root.mkdir()
    git(root, "init", "-q")
    for name, text in {"code.py": "1\n", "gone.py": "2\n", ".gitignore": "data/\n", "data/kept.csv": "3\n"}.items():
        (root / name).parent.mkdir(exist_ok=True)
        (root / name).write_text(text)
    git(root, "add", ".")
    git(root, "add", "-f", "data/kept.csv")
    git(root, "commit", "-qm", "one")
    (root / "gone.py").unlink()
    (root / "new.py").write_text("4\n")
    (root / "data" / "large.csv").write_text("5\n")
    (tmp_path / "secret").write_text("6\n")
    (root / "link.py").symlink_to(tmp_path / "secret")
    return root


def test_what_git_tracks_and_what_is_new_and_not_ignored_goes_along_with_the_commit(tree: Path, tmp_path: Path) -> None:
    package = pack(tree, tmp_path / "tree.zip")
    with zipfile.ZipFile(package.path) as packed:
        assert sorted(packed.namelist()) == [".gitignore", "COMMIT", "code.py", "data/kept.csv", "new.py"]
        assert packed.read("COMMIT").decode() == f"{git(tree, 'rev-parse', 'HEAD').strip()} dirty\n"
    assert package.n_files == 4
    assert "4 files" in package.in_words


def test_equal_trees_are_equal_packages_and_another_tree_is_another(tree: Path, tmp_path: Path) -> None:
    first, second = pack(tree, tmp_path / "1.zip"), pack(tree, tmp_path / "2.zip")
    assert first.path.read_bytes() == second.path.read_bytes()
    (tree / "new.py").write_text("7\n")
    assert pack(tree, tmp_path / "3.zip").digest != first.digest == second.digest


def test_a_tree_that_is_too_large_is_refused_with_its_largest_file(
    tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(packing, "MOST_BYTES", 1000)
    (tree / "large.bin").write_bytes(bytes(2000))
    with pytest.raises(TooLarge, match=r"\.gitignore .*largest: large\.bin"):
        pack(tree, tmp_path / "tree.zip")
    assert not (tmp_path / "tree.zip").exists()


def test_without_git_the_code_goes_along_with_a_commit_that_was_noted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path))
    root = tmp_path / "tree"
    for name in ("sweeps/run.py", "sweeps/__pycache__/run.pyc", "reports/style.css.jinja", "results/large", "COMMIT"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text("1\n")
    with zipfile.ZipFile(pack(root, tmp_path / "tree.zip").path) as packed:
        assert sorted(packed.namelist()) == ["COMMIT", "reports/style.css.jinja", "sweeps/run.py"]
