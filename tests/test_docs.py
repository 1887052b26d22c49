"""The pages tell the truth: links resolve, commands parse, code compiles, configs load, keys exist."""

from __future__ import annotations

import argparse
import ast
import importlib.util
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from raglift import plugins
from raglift.cli import _parser
from raglift.config import Config, config_from_dict, load_config
from raglift.config_fields import LANGUAGES, Section
from raglift.errors import UserError

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
CONFIGS = sorted((ROOT / "configs").glob("*.yaml"))
NEEDS = {"beir.yaml": ["data.beir=DIR"]}
"""Config -> what its header says must be given on the command line."""

SECTIONS = {
    name: field.annotation
    for name, field in Config.model_fields.items()
    if isinstance(field.annotation, type) and issubclass(field.annotation, Section)
}
FILES = {"json", "jsonl", "faiss", "yaml", "html", "md", "py"}
"""`index.faiss` is a file, not a key."""

every_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())


def blocks(text: str, language: str) -> list[str]:
    """The fenced blocks in a language."""
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


def inline(text: str) -> list[str]:
    """What stands in backticks outside of fenced blocks."""
    prose = re.sub(r"^```.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL)
    return [" ".join(code.split()) for code in re.findall(r"`([^`]+)`", prose)]


def links(text: str) -> list[str]:
    """Relative link targets in prose."""
    prose = re.sub(r"^```.*?^```$|`[^`\n]*`", "", text, flags=re.MULTILINE | re.DOTALL)
    return [to for to in re.findall(r"\]\(([^)\s]+)\)", prose) if not re.match(r"[a-z]+:", to)]


def anchors(text: str) -> set[str]:
    """The anchors that GitHub gives a page's headings."""
    headings = re.findall(r"^#+ (.+)$", re.sub(r"^```.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def command_lines(text: str) -> list[str]:
    """Every `raglift ...` of shell blocks and of prose, without what the shell takes for itself."""
    shell = [
        line.removeprefix("$ ").strip()
        for kind in ("bash", "console")
        for b in blocks(text, kind)
        for line in b.split("\n")
    ]
    found = [line for line in [*shell, *inline(text)] if re.match(r"raglift( |$)", line)]
    return [re.split(r" [|>] | [|]$| #", line)[0] for line in found]


def parse(line: str) -> argparse.Namespace:
    """The command line as `raglift` would take it; brackets around what may be left out are read as given.

    Raises:
        ValueError: It would be refused, or names no command.
    """
    words = shlex.split(line.replace("[", "").replace("]", "").replace("\N{HORIZONTAL ELLIPSIS}", ""))[1:]
    try:
        arguments, extra = _parser().parse_known_args(words)
    except SystemExit as stop:
        if stop.code:
            raise ValueError(line) from stop
        return argparse.Namespace(command="")
    if extra and (arguments.command != "run" or any(text.startswith("-") for text in extra)):
        raise ValueError(f"{line}: {extra}")
    return arguments


def commands() -> set[str]:
    """The names of raglift's commands."""
    action = next(a for a in _parser()._actions if isinstance(a, argparse._SubParsersAction))
    return set(action.choices)


def keys_of(text: str) -> Iterator[str]:
    """What looks like a key of the config in backticks, with or without a value."""
    for code in inline(text):
        match = re.match(r"([a-z]+)\.([a-z_]+)(?:\.\w+)*(?=$|[:=]| )", code)
        if match and match[1] in SECTIONS and match[2] not in FILES:
            yield f"{match[1]}.{match[2]}"


def exists(key: str) -> bool:
    section, _, name = key.partition(".")
    return section in SECTIONS and name in SECTIONS[section].model_fields


def test_the_pages_are_there() -> None:
    names = {page.name for page in PAGES}
    wanted = ["install", "data", "synthesis", "exchange", "tuning", "evaluation", "artifacts", "python", "commands"]
    wanted += ["report", "retrieval"]
    assert {f"{name}.md" for name in wanted} <= names
    readme = (ROOT / "README.md").read_text("utf-8")
    assert "](docs/" in readme


@every_page
def test_links_resolve(page: Path) -> None:
    for link in links(page.read_text("utf-8")):
        name, _, anchor = link.partition("#")
        target = page.parent / name if name else page
        assert target.exists(), f"{page.name} links to {link}"
        if anchor:
            assert anchor in anchors(target.read_text("utf-8")), f"{page.name} links to {link}"


@every_page
def test_python_compiles_and_imports_what_exists(page: Path) -> None:
    for block in blocks(page.read_text("utf-8"), "python"):
        tree = ast.parse(block)
        for node in ast.walk(tree):
            names = [node.module] if isinstance(node, ast.ImportFrom) and node.module else []
            names += [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            for name in names:
                assert importlib.util.find_spec(name) is not None, f"{page.name} imports {name}"


@every_page
def test_commands_parse(page: Path) -> None:
    for line in command_lines(page.read_text("utf-8")):
        words = line.split()
        if len(words) == 2 and not words[1].startswith("-"):  # a command that is only spoken of
            assert words[1] in commands(), f"{page.name}: {line}"
        else:
            parse(line)


@every_page
def test_overrides_and_files_in_commands_are_good(page: Path) -> None:
    for line in command_lines(page.read_text("utf-8")):
        if line.startswith("raglift run configs/"):
            given = shlex.split(line)[2:]
            overrides = [text for text in given if "=" in text]
            config = load_config([ROOT / text for text in given if text.startswith("configs/")], overrides)
            named = [text.removeprefix("run=") for text in overrides if text.startswith("run=")]
            assert not named or config.run == named[-1], line


@every_page
def test_keys_in_backticks_exist(page: Path) -> None:
    unknown = [key for key in keys_of(page.read_text("utf-8")) if not exists(key)]
    assert not unknown, f"{page.name} names {unknown}"


@every_page
def test_yaml_blocks_are_configs(page: Path) -> None:
    for block in blocks(page.read_text("utf-8"), "yaml"):
        values = yaml.safe_load(block)
        assert config_from_dict(values).run == values.get("run", "run"), page.name


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.name)
def test_every_config_loads(path: Path) -> None:
    config = load_config([path], NEEDS.get(path.name, []))
    assert config.run == path.stem, "a run is named like its config, so that two examples never share a folder"
    text = path.read_text("utf-8")
    for override in NEEDS.get(path.name, []):
        with pytest.raises(UserError, match=re.escape(override.partition("=")[0])):
            load_config([path])
        assert override.partition("=")[0] in text.partition("\nrun:")[0], "the header says what must be given"


def test_every_strategy_has_a_config() -> None:
    assert set(plugins.names("strategy")) <= {path.stem for path in CONFIGS}


def test_every_plugin_is_described() -> None:
    synthesis = set(inline((ROOT / "docs" / "synthesis.md").read_text("utf-8")))
    missing = {*plugins.names("question kind"), *plugins.names("question filter")} - synthesis
    missing |= set(plugins.names("prompt style")) - synthesis
    missing |= set(plugins.names("exchange format")) - set(inline((ROOT / "docs" / "exchange.md").read_text("utf-8")))
    evaluation = (ROOT / "docs" / "evaluation.md").read_text("utf-8")
    missing |= {name for name in plugins.names("response metric") if f"**{name}**" not in evaluation}
    missing |= set(plugins.names("chunker")) - set(inline((ROOT / "docs" / "data.md").read_text("utf-8")))
    index = set(inline((ROOT / "docs" / "index.md").read_text("utf-8")))
    missing |= {*plugins.names("index kind"), *plugins.names("encoding backend")} - index
    missing |= set(plugins.names("encoding backend")) - set(inline((ROOT / "docs" / "index.md").read_text("utf-8")))
    missing |= set(plugins.names("slice dimension")) - set(inline((ROOT / "docs" / "slices.md").read_text("utf-8")))
    missing |= set(plugins.names("corruption")) - set(inline((ROOT / "docs" / "grounding.md").read_text("utf-8")))
    tuning = set(inline((ROOT / "docs" / "tuning.md").read_text("utf-8")))
    retrieval = set(inline((ROOT / "docs" / "retrieval.md").read_text("utf-8")))
    missing |= {*plugins.names("fusion"), *plugins.names("query transform"), *LANGUAGES} - retrieval
    missing |= {*plugins.names("strategy"), *plugins.names("prompt")} - tuning
    assert not missing


def test_every_command_is_described() -> None:
    lines = command_lines((ROOT / "docs" / "commands.md").read_text("utf-8"))
    described = {line.split()[1] for line in lines if len(line.split()) > 1}
    assert commands() <= described


def test_the_checks_see_what_is_wrong() -> None:
    page = """
`embedding.strategy` and `embedding.strategies`, `data.beir=DIR`, `index.faiss`, `synthesis.kinds.factoid`
[gone](gone.md) `[not](a-link.md)` [web](https://example.org)
`raglift run`, `raglift reprot`

```bash
raglift run configs/quickstart.yaml run=mine   # a comment
raglift report x --json | head
raglift evaluate x
```
"""
    assert list(keys_of(page)) == ["embedding.strategy", "embedding.strategies", "data.beir", "synthesis.kinds"]
    assert [exists(key) for key in keys_of(page)] == [False, True, True, True]
    assert links(page) == ["gone.md"]
    lines = command_lines(page)
    assert lines[0].split() == ["raglift", "run", "configs/quickstart.yaml", "run=mine"]
    assert lines[1:] == ["raglift report x --json", "raglift evaluate x", "raglift run", "raglift reprot"]
    assert parse("raglift ask RUN QUESTION [--arm ARM]").arm == "ARM"
    for wrong in ("raglift evaluate x", "raglift reprot", "raglift doctor --all", "raglift status a b"):
        with pytest.raises(ValueError, match="raglift"):
            parse(wrong)
