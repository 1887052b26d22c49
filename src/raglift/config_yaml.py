"""YAML in which every value remembers the line it came from, so that each mistake can be named where it stands.

Scalars follow YAML 1.2, not PyYAML's 1.1: `1e-4` is a number, `on`, `no` and `2024-01-01` are text, `007` is text.
"""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from raglift.errors import UserError

_MAX_NODES = 20_000  # anchors can nest, so a short file can unfold to one that fills the memory
_TOO_DEEP = "is nested too deeply, or an anchor refers to itself"

_NUMBERS = {
    "int": (r"[-+]?(?:0|[1-9][0-9]*)", "-+0123456789"),
    "float": (
        r"[-+]?(?:\.[0-9]+|(?:0|[1-9][0-9]*)\.[0-9]*)(?:[eE][-+]?[0-9]+)?|[-+]?[0-9]+[eE][-+]?[0-9]+"
        r"|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)",
        "-+.0123456789",
    ),
}
_RESOLVERS = {
    **_NUMBERS,
    "bool": (r"true|True|TRUE|false|False|FALSE", "tTfF"),
    "null": (r"~|null|Null|NULL|", ["~", "n", "N", ""]),
}


def _with_resolvers(base: Any, own: dict[str, Any], resolvers: dict[str, Any]) -> Any:
    """A subclass of one of PyYAML's loaders or dumpers that tells plain scalars apart by `resolvers`."""
    cls: Any = type(f"_Raglift{base.__name__}", (base,), own)
    for tag, (pattern, first) in resolvers.items():
        cls.add_implicit_resolver(f"tag:yaml.org,2002:{tag}", re.compile(f"^(?:{pattern})$"), list(first))
    return cls


_Loader = _with_resolvers(yaml.SafeLoader, {"yaml_implicit_resolvers": {}}, _RESOLVERS)
# The dumper keeps the 1.1 rules beside these, so that what it leaves unquoted reads the same everywhere.
_Dumper = _with_resolvers(yaml.SafeDumper, {"ignore_aliases": lambda self, data: True}, _NUMBERS)


def _represent_text(dumper: Any, text: str) -> Any:
    # PyYAML folds separators such as U+0085 into line ends unless the text is quoted with escapes.
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=None if text.isprintable() else '"')


_Dumper.add_representer(str, _represent_text)


class Where(NamedTuple):
    """A place in a configuration: `source` is a file, "command line" or "config"; `line` counts from 1."""

    source: str
    line: int | None = None

    def __str__(self) -> str:
        return self.source if self.line is None else f"{self.source}:{self.line}"


class Problem(NamedTuple):
    """One mistake and where it stands."""

    where: Where
    message: str

    def __str__(self) -> str:
        return f"{self.where}: {self.message}"


@dataclass(slots=True)
class Node:
    """A value and where its key stands: a `dict[str, Node]`, a `list[Node]`, or a plain value."""

    value: Any
    where: Where


def raise_problems(problems: Iterable[Problem], fix: str) -> None:
    """Raise one `UserError` that lists every problem once, in the order of sources and lines; none: return."""
    unique = list(dict.fromkeys(problems))
    if not unique:
        return
    sources = list(dict.fromkeys(problem.where.source for problem in unique))
    unique.sort(key=lambda problem: (sources.index(problem.where.source), problem.where.line or 0))
    count = "a problem" if len(unique) == 1 else f"{len(unique)} problems"
    raise UserError("\n".join([f"The configuration has {count}:", *(f"  {problem}" for problem in unique)]), fix=fix)


class _Builder:
    """Turns one composed document into `Node`s, noting what is wrong with it."""

    def __init__(self, loader: Any, source: str, numbered: bool, problems: list[Problem]) -> None:
        self._loader = loader
        self._source = source
        self._numbered = numbered
        self._problems = problems
        self._left = _MAX_NODES

    def where(self, mark: Any) -> Where:
        return Where(self._source, mark.line + 1 if self._numbered else None)

    def note(self, mark: Any, message: str) -> None:
        self._problems.append(Problem(self.where(mark), message))

    def build(self, node: Any, where: Where) -> Node:
        self._left -= 1
        if self._left < 0:
            raise RecursionError
        if isinstance(node, yaml.ScalarNode):
            try:
                return Node(self._loader.construct_object(node), where)
            except (yaml.YAMLError, ValueError) as error:
                self.note(node.start_mark, f"cannot read this value ({getattr(error, 'problem', error)})")
                return Node(None, where)
        if node.tag not in ("tag:yaml.org,2002:seq", "tag:yaml.org,2002:map"):
            self.note(node.start_mark, f"the tag {node.tag!r} is not allowed")
        if isinstance(node, yaml.SequenceNode):
            return Node([self.build(item, self.where(item.start_mark)) for item in node.value], where)
        return Node(self._mapping(node), where)

    def _mapping(self, node: Any) -> dict[str, Node]:
        items: dict[str, Node] = {}
        for key_node, value_node in node.value:
            key = self._loader.construct_object(key_node) if isinstance(key_node, yaml.ScalarNode) else None
            where = self.where(key_node.start_mark)
            value = self.build(value_node, where)
            if not isinstance(key, str):
                shown = f"{key!r}: put it in quotes" if isinstance(key_node, yaml.ScalarNode) else "a collection"
                self.note(key_node.start_mark, f"a key must be text, not {shown}")
            elif key in items:
                self.note(key_node.start_mark, f"the key {key!r} is given twice (first at {items[key].where})")
            else:
                items[key] = value
        return items


def parse_yaml(text: str, source: str, problems: list[Problem], numbered: bool = True) -> Node | None:
    """The one document in `text`, None where it cannot be read; what is wrong is appended to `problems`.

    Args:
        text: YAML.
        source: What the problems name as their origin.
        problems: Grows by one entry a mistake.
        numbered: Whether the problems name the line.
    """
    try:
        loader = _Loader(text)
        builder = _Builder(loader, source, numbered, problems)
        root = loader.get_single_node()
        return Node(None, Where(source)) if root is None else builder.build(root, builder.where(root.start_mark))
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        problems.append(Problem(Where(source, mark.line + 1 if mark and numbered else None), _syntax(error)))
    except yaml.reader.ReaderError as error:
        where = Where(source, text.count("\n", 0, error.position) + 1 if numbered else None)
        problems.append(Problem(where, "holds a character that YAML does not allow"))
    except RecursionError:
        problems.append(Problem(Where(source), _TOO_DEEP))
    return None


def _syntax(error: Any) -> str:
    """PyYAML's account of a syntax error, or a plainer one for what people often get wrong."""
    said = f"{error.problem or error.context}"
    if "'\\t'" in said:
        return "a tab cannot indent YAML: use spaces"
    if "mapping values are not allowed" in said:
        return "this is not valid YAML: a second ': ' on the line, or a wrong indent (quote text that holds ': ')"
    context = f" {error.context}" if error.context and error.context != said else ""
    return f"this is not valid YAML: {said}{context}"


def read_yaml(path: Path, problems: list[Problem]) -> Node | None:
    """The mapping in a UTF-8 file, as `parse_yaml`; an empty file is an empty mapping."""
    source = str(path)
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        problems.append(Problem(Where(source), f"there is no such file{_sibling(path)}"))
        return None
    except OSError as error:
        problems.append(Problem(Where(source), f"cannot be read: {error.strerror or error}"))
        return None
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        problems.append(Problem(Where(source, line), "is not UTF-8 text: save the file as UTF-8"))
        return None
    node = parse_yaml(text, source, problems)
    if node is None or isinstance(node.value, dict):
        return node
    if node.value is None:
        return Node({}, node.where)
    problems.append(Problem(node.where, "the file must hold a mapping of sections (`data:`, `corpus:`, ...)"))
    return None


def _sibling(path: Path) -> str:
    try:
        names = [entry.name for entry in path.parent.iterdir()]
    except OSError:
        return ""
    close = difflib.get_close_matches(path.name, names, n=1)
    return f" (did you mean {str(path.with_name(close[0]))!r}?)" if close else ""


def parse_override(text: str, problems: list[Problem]) -> Node | None:
    """`a.b=value` as the nested mapping `{a: {b: value}}`; the value is YAML, and an empty one is null."""
    where = Where("command line")
    name, equals, value = text.partition("=")
    keys = name.strip().split(".")
    if not equals or not all(keys):
        problems.append(Problem(where, f"{text!r} is not of the form section.key=value"))
        return None
    found: list[Problem] = []
    node = parse_yaml(value, "command line", found, numbered=False)
    problems.extend(Problem(where, f"{text!r}: {problem.message}") for problem in found)
    if node is None:
        return None
    for key in reversed(keys):
        node = Node({key: node}, where)
    return node


def from_python(value: Any, where: Where, problems: list[Problem]) -> Node:
    """Python's mappings, sequences and scalars as `Node`s; paths become text."""
    if isinstance(value, dict):
        for key in value:
            if not isinstance(key, str):
                problems.append(Problem(where, f"a key must be text, not {key!r}"))
        items = {key: from_python(item, where, problems) for key, item in value.items() if isinstance(key, str)}
        return Node(items, where)
    if isinstance(value, list | tuple):
        return Node([from_python(item, where, problems) for item in value], where)
    return Node(os.fspath(value) if isinstance(value, os.PathLike) else value, where)


def to_python(node: Node) -> Any:
    """The plain value, without its places."""
    if isinstance(node.value, dict):
        return {key: to_python(item) for key, item in node.value.items()}
    if isinstance(node.value, list):
        return [to_python(item) for item in node.value]
    return node.value


def merge(base: Node, over: Node) -> Node:
    """Mappings merge key by key, at every depth; anything else, lists too, is replaced by `over`."""
    if not (isinstance(base.value, dict) and isinstance(over.value, dict)):
        return over
    merged = dict(base.value)
    for key, item in over.value.items():
        merged[key] = merge(merged[key], item) if key in merged else item
    return Node(merged, over.where)


def locate(root: Node, path: Sequence[str | int]) -> tuple[tuple[str | int, ...], Node]:
    """The deepest node along `path` that exists, and the part of the path that leads to it."""
    node, found = root, 0
    for step in path:
        keys = range(len(node.value)) if isinstance(node.value, list) else node.value
        if not isinstance(keys, dict | range) or step not in keys:
            break
        node = node.value[step]
        found += 1
    return tuple(path[:found]), node


def remove(root: Node, path: Sequence[str | int]) -> bool:
    """Take the value at `path` out of its mapping or list; False where there is none."""
    found, parent = locate(root, path[:-1])
    if not path or len(found) < len(path) - 1 or locate(parent, path[-1:])[0] == ():
        return False
    del parent.value[path[-1]]
    return True


def dump_yaml(value: Any) -> str:
    """YAML that `parse_yaml` reads back equal: block style, keys in their order."""
    return str(yaml.dump(value, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=120))
