"""What is declared in files, a study or a search in each: found by name in its folder, or by the path of any file.

A file that declares nothing breaks only itself, and what is wrong in it is told in one line, with its line where it can
be.
"""

from __future__ import annotations

import contextlib
import difflib
import importlib.util
import os
import pkgutil
import re
import sys
import traceback
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Generic, Protocol, TypeVar

from pydantic import ValidationError

from trm_core.settings import Settings
from trm_core.settings_as_text import shortened


class Named(Protocol):
    """What can be declared: it has the name of its file."""

    @property
    def name(self) -> str:
        """That of its file."""


T = TypeVar("T", bound=Named)


@dataclass(frozen=True)
class Shelf(Generic[T]):
    """Where the declarations of one kind that ship are, and how mistakes in them and about them are called."""

    package: str  # "sweeps.studies": a file of that name for each
    kind: type[T]  # Study; its name in lower case is the variable that a file assigns
    parts: tuple[type[Settings], ...]  # what it is made of, whose fields a misspelt one is compared with
    unknown: type[ValueError]
    bad: type[ValueError]

    @property
    def word(self) -> str:
        """ "study", as in a file and in errors."""
        return self.kind.__name__.lower()

    @property
    def folder(self) -> Path:
        """Where the files lie: sweeps/studies."""
        return Path(__file__).resolve().parent / self.package.rpartition(".")[2]

    def names(self) -> tuple[str, ...]:
        """Those there are, sorted: the names of the package's modules."""
        package = importlib.import_module(self.package)
        return tuple(sorted(module.name for module in pkgutil.iter_modules(package.__path__)))

    def find(self, name: str) -> T:
        """The one of that name, or that a file declares: "recursion_depth", "mine.py", "elsewhere/mine.py".

        Raises `unknown` with the nearest right name, `bad`.
        """
        if name.endswith(".py") or "/" in name:
            path = Path(name)
            if os.path.realpath(path.parent) != str(self.folder):
                return self._read_file(path)
            name = path.stem
        names = self.names()
        if name not in names:
            plural = self.folder.name
            hint = f"did you mean {name}.py?" if Path(f"{name}.py").is_file() else nearest(name, names, plural)
            raise self.unknown(f"{name!r}: no such {self.word}; {hint}")
        path = Path("sweeps", self.folder.name, f"{name}.py")
        spec = importlib.util.find_spec(f"{self.package}.{name}")
        try:
            module = importlib.import_module(f"{self.package}.{name}")
        except Exception as error:  # a file that somebody is writing: whatever it raises is told with its line
            raise self.bad(self._fault(path, (spec and spec.origin) or "", error)) from error
        declared = self._declared(path, module)
        if declared.name != name:
            raise self.bad(f"{path}: {self.word}.name is {declared.name!r}, must be {name!r}, as its file")
        return declared

    def all(self) -> tuple[T, ...]:
        """Every one that ships, by name. Raises `bad`."""
        return tuple(self.find(name) for name in self.names())

    def sound_and_faults(self) -> tuple[tuple[T, ...], dict[str, str]]:
        """Those that ship, by name; and of each file that declares none, by its name, what is wrong in it."""
        sound, faults = [], {}
        for name in self.names():
            try:
                sound.append(self.find(name))
            except self.bad as error:
                faults[name] = str(error)
        return tuple(sound), faults

    def _read_file(self, path: Path) -> T:
        """What a file outside the package declares. Raises `bad`."""
        try:
            if not path.exists():
                close = difflib.get_close_matches(
                    str(path), [str(file) for file in sorted(path.parent.glob("*.py"))], n=1
                )
                hint = f"did you mean {close[0]}?" if close else f"give the path of a Python file that {self._declares}"
                raise self.bad(f"{path}: no such file; {hint}")
            if not path.is_file():
                raise self.bad(f"{path}: a folder or a device; give the path of a Python file that {self._declares}")
            if path.suffix != ".py":
                raise self.bad(f"{path}: its name does not end in .py; give a Python file that {self._declares}")
            source = path.read_text(encoding="utf-8-sig")
        except OSError as error:
            raise self.bad(f"{path}: cannot be read ({error.strerror}); see its permissions") from None
        except UnicodeDecodeError as error:
            raise self.bad(f"{path}: byte {error.start} is no UTF-8; save it as UTF-8") from None
        module = ModuleType(f"{self.word}_file_{path.stem}")
        module.__file__ = str(path)
        with _importable(module, path.parent):
            try:
                exec(compile(source, str(path), "exec", dont_inherit=True), module.__dict__)
            except (Exception, SystemExit) as error:  # a person's own code: whatever it raises is told with its line
                raise self.bad(self._fault(path, str(path), error)) from error
        declared = self._declared(path, module)
        if not re.fullmatch("[a-z0-9_]+", declared.name):
            raise self.bad(
                f"{path}: {self.word}.name is {declared.name!r}; expected a-z, 0-9 and _ alone, for its folder"
            )
        if declared.name in self.names():
            raise self.bad(
                f"{path}: {self.word}.name is {declared.name!r}, that of a {self.word} that ships; choose another"
            )
        return declared

    def _declared(self, path: Path, module: ModuleType) -> T:
        """The module's `study`. Raises `bad`."""
        found = vars(module).get(self.word)
        if isinstance(found, self.kind):
            return found
        example = f"{self.word} = {self.kind.__name__}(name=…)"
        if found is not None:
            raise self.bad(
                f"{path}: `{self.word}` is of type {type(found).__name__}, must be a {self.kind.__name__}: {example}"
            )
        others = [name for name, value in vars(module).items() if isinstance(value, self.kind)]
        hint = f"did you mean {others[0]}? Call it {self.word}" if others else f"declare one: {example}"
        raise self.bad(f"{path}: no `{self.word}` in it; {hint}")

    @property
    def _declares(self) -> str:
        return f"declares a {self.word}"

    def _fault(self, path: Path, filename: str, error: BaseException) -> str:
        """What a file raised, as one line: the file, the line of it that was running, what is wrong.

        path: as a person knows it; filename: as Python does.
        """
        ran = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == filename]
        if isinstance(error, SyntaxError) and error.filename == filename:
            ran.append(error.lineno)
        where = f"{path}, line {ran[-1]}" if ran and ran[-1] else str(path)
        if isinstance(error, ValidationError):
            return f"{where}: {self._in_one_line(error)}"
        if isinstance(error, SyntaxError):
            elsewhere = "" if error.filename in (filename, None) else f"{error.filename}, line {error.lineno}: "
            return f"{where}: {elsewhere}{error.msg}"
        return f"{where}: {' '.join(traceback.format_exception_only(error)[0].split())}"

    def _in_one_line(self, error: ValidationError) -> str:
        """Pydantic's errors about a declaration: the field, what was found, what was expected."""
        fields = {kind.__name__: tuple(kind.model_fields) for kind in self.parts}
        said = []
        for offence in error.errors():
            name = ".".join(str(part) for part in offence["loc"])
            match offence["type"]:
                case "value_error":
                    text = str(offence["ctx"]["error"])
                    said.append(f"{name}: {text}" if name else text)
                case "extra_forbidden" if error.title in fields:
                    hint = nearest(name, fields[error.title], "fields")
                    said.append(f"{name}: {error.title} has no such field; {hint}")
                case "missing":
                    said.append(f"{error.title} needs {name}")
                case _:
                    text = f"{offence['msg'][0].lower()}{offence['msg'][1:]}"
                    said.append(f"{name}={shortened(offence['input'])}: {text}")
        return "; ".join(said)


@contextlib.contextmanager
def _importable(module: ModuleType, folder: Path) -> Iterator[None]:
    """The module is known while it runs, and what lies beside it can be imported, the repository's own first."""
    before = list(sys.path)
    sys.modules[module.__name__] = module  # where classes that it declares are looked up
    sys.path.append(str(folder.resolve()))
    try:
        yield
    finally:
        sys.path[:] = before
        sys.modules.pop(module.__name__, None)


def nearest(name: str, names: Iterable[str], what: str, between: str = ", ") -> str:
    """A hint at the name meant, for an error: "did you mean mini?", else "profiles are mini, official, paper"."""
    names = tuple(names)
    close = difflib.get_close_matches(name, names, n=1, cutoff=0.4)
    return f"did you mean {close[0]}?" if close else f"{what} are {between.join(names)}"
