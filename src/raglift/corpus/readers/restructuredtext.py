"""reStructuredText: titles written as in Markdown, roles and links as their text, directives about layout left out.

docutils is not used: it would read the files that `include` and `raw` directives name.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from raglift.corpus.readers._reader import Limits, Piece, Reader
from raglift.corpus.readers._text import decode

_RULE = re.compile(r"([=\-`:.'\"~^_*+#<>!$%&(),/;?@\[\]\\{|}])\1*")
_DROPPED = re.compile(
    r"(\s*)\.\. (?:(?:toctree|contents|image|figure|include|raw|index|highlight|meta|sectnum|default-role|"
    r"currentmodule|module|math|tabularcolumns|csv-table|graphviz|plot|autoclass|automodule|autofunction)::|_[^:]{1,200}:|"
    r"\|[^|]{1,200}\||(?![\w-]+(?::[\w-]+)?::|\[)\S)"
)
"""Directives without prose, link targets, substitutions and comments; what is indented below goes with them."""
_DIRECTIVE = re.compile(r"(\s*)\.\. ([\w-]+(?::[\w-]+)?):: ?(.*)")
_NAMING = frozenset({"code", "code-block", "sourcecode", "parsed-literal", "container", "only", "role", "class"})
"""Directives whose argument is a name, not a part of what is said."""
_OPTION = re.compile(r"\s+:[\w-]{1,50}:(?: |$)")
_ROLE = re.compile(r":[\w:+.-]{1,50}:`([^`]{1,500})`")
_LINK = re.compile(r"`([^`<]{1,300}?)\s*<[^>`]{1,500}>`(?:__?)?")
_REFERENCE = re.compile(r"`([^`]{1,300})`__?(?!\w)")


def read(data: bytes, limits: Limits, encoding: str | None = None) -> Iterator[Piece]:
    """The whole file as one document."""
    lines = decode(data, encoding).replace("\r\n", "\n").replace("\r", "\n").split("\n")
    yield Piece("\n".join(_inline(line) for line in _titled(_prose(lines))).strip("\n") + "\n")


def _prose(lines: list[str]) -> Iterator[str]:
    """The lines without those directives, and without the options of the others."""
    dropped: int | None = None
    options = False
    for line in lines:
        indent = len(line) - len(line.lstrip())
        if dropped is not None and (not line.strip() or indent > dropped):
            continue
        dropped = None
        if match := _DROPPED.match(line):
            dropped = len(match[1])
        elif match := _DIRECTIVE.match(line):
            options = True
            yield "" if match[2] in _NAMING else match[1] + match[3]
        elif options and _OPTION.match(line):
            continue
        else:
            options = False
            yield line


def _titled(lines: Iterator[str]) -> Iterator[str]:
    """Titles under (and over) a rule as `# title`; the level of a rule is the order in which it first comes."""
    levels: list[str] = []
    waiting: str | None = None  # the line before, and the one before that if it may be a rule above
    above: str | None = None
    for line in lines:
        if waiting is not None and _underlines(line, waiting):
            over = above is not None and above == line.rstrip()
            style = line[0] * (2 if over else 1)
            if style not in levels:
                levels.append(style)
            if above is not None and not over:
                yield above
            yield "#" * min(6, levels.index(style) + 1) + " " + waiting.strip()
            waiting = above = None
            continue
        if above is not None:
            yield above
        above = None
        if waiting is not None and len(waiting.strip()) > 2 and _RULE.fullmatch(waiting.rstrip()):
            above = waiting.rstrip()
        elif waiting is not None:
            yield waiting
        waiting = line
    yield from (line for line in (above, waiting) if line is not None)


def _underlines(rule: str, title: str) -> bool:
    rule = rule.rstrip()
    return (
        len(rule) >= 2
        and bool(_RULE.fullmatch(rule))
        and bool(title.strip())
        and len(title.strip()) <= 2 * len(rule)
        and not _RULE.fullmatch(title.strip())
    )


def _inline(line: str) -> str:
    if "`" not in line:
        return line
    line = _ROLE.sub(lambda match: _shown(match[1]), line)
    return _REFERENCE.sub(r"\1", _LINK.sub(r"\1", line))


def _shown(target: str) -> str:
    """What a role shows: `title <target>` its title, `~a.b.c` its last part."""
    title, _, rest = target.rpartition("<")
    if title.strip() and rest.endswith(">"):
        return title.strip()
    return target.rpartition(".")[2] if target.startswith("~") else target.lstrip("!")


PLUGIN = Reader((".rst", ".rest"), read, ("text/x-rst",))
