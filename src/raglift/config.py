"""Reading, checking and writing a run's configuration; the schema itself is in `config_schema`.

Several files may be given: mappings merge, lists and values of later files win, and `section.key=value` from the
command line wins over all. Paths are relative to the current directory, wherever the file itself lies.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from raglift.config_check import (
    check_negatives,
    check_objective,
    check_plugin,
    check_specs,
    check_trials,
    place,
    validate,
)
from raglift.config_describe import describe_schema
from raglift.config_evaluation import EvaluationConfig
from raglift.config_fields import PluginSpec, Section
from raglift.config_schema import (
    Config,
    CorpusConfig,
    DataConfig,
    EmbeddingConfig,
    IndexConfig,
    LLMConfig,
    ReadingConfig,
    RerankConfig,
    RetrievalConfig,
    RuntimeConfig,
    TuningConfig,
)
from raglift.config_synthesis import SynthesisConfig
from raglift.config_writer import WriterConfig
from raglift.config_yaml import (
    Node,
    Problem,
    Where,
    dump_yaml,
    from_python,
    merge,
    parse_override,
    raise_problems,
    read_yaml,
)

__all__ = [
    "Config",
    "CorpusConfig",
    "DataConfig",
    "EmbeddingConfig",
    "EvaluationConfig",
    "IndexConfig",
    "LLMConfig",
    "PluginSpec",
    "ReadingConfig",
    "RerankConfig",
    "RetrievalConfig",
    "RuntimeConfig",
    "SynthesisConfig",
    "TuningConfig",
    "WriterConfig",
    "check_tuning",
    "config_from_dict",
    "describe_schema",
    "dump_config",
    "load_config",
]


def load_config(paths: Sequence[Path | str], overrides: Sequence[str] = ()) -> Config:
    """The configuration in the files, later ones over earlier, then the overrides `section.key=value`.

    An override's value is YAML; a section that a file leaves empty changes nothing.

    Raises:
        UserError: Lists every problem of every kind as `file:line: message`.
    """
    problems: list[Problem] = []
    trees = [read_yaml(Path(path), problems) for path in paths]
    trees += [parse_override(text, problems) for text in overrides]
    root = Node({}, Where(str(paths[-1]) if paths else "command line"))
    for tree in trees:
        if tree is not None:
            root = merge(root, _without_empty_sections(tree))
    if None in trees and "data" not in root.value:
        root.value["data"] = _any_data()  # whether it is missing cannot be told
    return _checked(root, problems)


def config_from_dict(values: Mapping[str, Any]) -> Config:
    """The configuration in nested Python mappings, with the checks of `load_config`; paths may be `Path` objects.

    Raises:
        UserError: Lists every problem as `config: message`.
    """
    problems: list[Problem] = []
    root = from_python(dict(values), Where("config"), problems)
    return _checked(_without_empty_sections(root), problems)


def dump_config(config: Config) -> str:
    """YAML that `load_config` reads back as an equal configuration, defaults included."""
    return dump_yaml(config.model_dump(mode="json"))


def check_tuning(config: Config) -> list[tuple[tuple[str | int, ...], str]]:
    """What is wrong with strategies, objectives and the fusion: (path to the key, message), in the config's order.

    Unknown names, hyper-parameters that the plug-in refuses, plug-ins that are not for the model that they are listed
    for, two strategies on one axis, and further trainings of nothing. Imports what is listed.
    """
    problems: list[tuple[tuple[str | int, ...], str]] = []
    for target in ("embedding", "llm", "rerank"):
        if getattr(config, target) is None:
            continue
        for path, message in check_specs(target, getattr(config, target).strategies):
            problems.append(((target, "strategies", *path), f"{target}.strategies: {message}"))
        for path, message in check_objective(target, getattr(config, target).objective):
            problems.append(((target, "objective", *path), f"{target}.objective: {message}"))
        if not any(path[:2] == (target, "strategies") for path, _ in problems):
            problems += [((target, key), message) for key, message in check_trials(target, getattr(config, target))]
    if not any(path[:2] == ("embedding", "objective") for path, _ in problems):
        for message in check_negatives(config.embedding.objective, config.embedding.hard_negatives):
            problems.append((("embedding", "objective"), f"embedding.objective: {message}"))
    if config.retrieval.fusion != PluginSpec(name="auto"):
        for path, message in check_plugin("fusion", config.retrieval.fusion):
            problems.append((("retrieval", "fusion", *path), f"retrieval.fusion: {message}"))
    for number, spec in enumerate(config.retrieval.transforms):
        for path, message in check_plugin("query transform", spec):
            problems.append((("retrieval", "transforms", number, *path), f"retrieval.transforms: {message}"))
    return problems


def _checked(root: Node, problems: list[Problem]) -> Config:
    root.value.setdefault("data", Node({}, root.where))
    config = validate(root, Config, problems, stand_ins={"data": _any_data()})
    if config is not None:
        problems.extend(Problem(place(root, path), message) for path, message in check_tuning(config))
    raise_problems(problems, "`raglift config schema` lists every key, what it means and its default.")
    assert config is not None  # what stood in the way of it was a problem
    return config


def _any_data() -> Node:
    return from_python({"documents": "python-reference"}, Where("config"), [])


def _without_empty_sections(root: Node) -> Node:
    sections = {name for name, field in Config.model_fields.items() if _is_section(field.annotation)}
    for name, node in root.value.items():
        if name in sections and node.value is None:
            root.value[name] = Node({}, node.where)
    return root


def _is_section(annotation: Any) -> bool:
    return isinstance(annotation, type) and issubclass(annotation, Section)
