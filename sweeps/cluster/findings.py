"""What is wrong with a file, at which line; and a YAML file that still knows its lines."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Hashable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

BYTES = 1_000_000  # a cluster's file has some thousands
PLACEHOLDER = re.compile(r"(<[^<>]+>).*#\s*<-")


class BadFile(ValueError):
    """A file that cannot be looked at: missing, too large, no text, no YAML."""


@dataclass(frozen=True, order=True)
class Finding:
    """Something to mend, or with `only_warns` something to know."""

    line: int  # from 1
    message: str
    only_warns: bool = False


def read_text(path: Path) -> str:
    """The file as text. Raises BadFile, and OSError where it cannot be read."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)  # a pipe of that name keeps nobody waiting
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise BadFile(f"{path}: no file, expected a cluster's description")
    with open(descriptor, "rb") as file:
        found = file.read(BYTES + 1)
    if len(found) > BYTES:
        raise BadFile(f"{path}: more than {BYTES:,} bytes, expected a cluster's description of some thousands")
    try:
        return found.decode("utf-8")
    except UnicodeDecodeError as error:
        line = found[: error.start].count(b"\n") + 1
        raise BadFile(f"{path}:{line}: no UTF-8 text") from None


def unfilled(text: str) -> Iterator[Finding]:
    """Lines marked <- that still have what they were shipped with."""
    for number, line in enumerate(text.splitlines(), start=1):
        if found := PLACEHOLDER.search(line):
            yield Finding(number, f"{found[1]} is still to be filled in")


class Document:
    """One YAML document: its data, and the line of every part of it."""

    def __init__(self, root: yaml.Node) -> None:
        self._root = root
        self.data: Any = yaml.SafeLoader("").construct_document(root)

    def line(self, *keys: Hashable) -> int:
        """The line of what `keys` lead to, or of the last that is there; aliases lead to where they point."""
        node, line = self._root, self._root.start_mark.line
        for key in keys:
            found = _child(node, key)
            if found is None:
                break
            line, node = found
        return int(line) + 1


def read_yaml(path: Path, text: str) -> list[Document]:
    """The documents of a YAML file. Raises BadFile with the line."""
    try:
        nodes = [node for node in yaml.compose_all(text, yaml.SafeLoader) if node is not None]
        for node in nodes:
            _check_node(node, path, ())
        return [Document(node) for node in nodes]
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f":{mark.line + 1}" if mark else ""
        raise BadFile(f"{path}{where}: no YAML ({error.problem or error.context})") from None
    except yaml.YAMLError as error:
        raise BadFile(f"{path}: no YAML ({' '.join(str(error).split())[:200]})") from None
    except RecursionError:
        raise BadFile(f"{path}: nested too deep for a cluster's description") from None
    except ValueError as error:
        if isinstance(error, BadFile):
            raise
        raise BadFile(f"{path}: no YAML ({error})") from None  # a date that no calendar has


def at(data: Any, *keys: Hashable, default: Any = None) -> Any:
    """What `keys` lead to in mappings and lists; the default where something on the way is not there."""
    for key in keys:
        is_in_list = isinstance(data, list) and isinstance(key, int) and key < len(data)
        if is_in_list or (isinstance(data, Mapping) and key in data):
            data = data[key]
        else:
            return default
    return data


def _child(node: yaml.Node, key: Hashable) -> tuple[int, yaml.Node] | None:
    if isinstance(node, yaml.MappingNode):
        for name, value in node.value:
            if name.value == str(key):
                return name.start_mark.line, value
    elif isinstance(node, yaml.SequenceNode) and isinstance(key, int) and key < len(node.value):
        return node.value[key].start_mark.line, node.value[key]
    return None


def _check_node(node: yaml.Node, path: Path, above: tuple[yaml.Node, ...]) -> None:
    """No key twice, no part that holds itself. Raises BadFile."""
    line = node.start_mark.line + 1
    if node in above:
        raise BadFile(f"{path}:{line}: holds itself by an alias")
    if isinstance(node, yaml.MappingNode):
        names: set[str] = set()
        for name, value in node.value:
            if isinstance(name, yaml.ScalarNode) and name.value in names and name.value != "<<":
                where = name.start_mark.line + 1
                raise BadFile(f"{path}:{where}: {name.value} stands here twice, and the last would win in silence")
            names.add(str(name.value))
            _check_node(value, path, (*above, node))
    elif isinstance(node, yaml.SequenceNode):
        for value in node.value:
            _check_node(value, path, (*above, node))
