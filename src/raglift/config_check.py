"""Turns what pydantic and the strategies refuse into problems that name a place, a key and the nearest right one."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeVar, get_args

from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic_core import ErrorDetails, to_json

from raglift import plugins
from raglift.config_fields import WRONG, PluginSpec, shown
from raglift.config_yaml import Node, Problem, Where, locate, remove, to_python
from raglift.errors import UserError

if TYPE_CHECKING:
    from raglift.config_schema import TuningConfig

KeyPath = tuple[str | int, ...]
Model = TypeVar("Model", bound=BaseModel)


def place(root: Node, path: KeyPath) -> Where:
    """Where the value at `path` stands, or the nearest thing around it that is there."""
    return locate(root, path)[1].where


def validate(root: Node, model: type[Model], problems: list[Problem], stand_ins: Mapping[str, Node]) -> Model | None:
    """The model that `root` describes, without what is wrong in it; the mistakes are appended to `problems`.

    Pydantic stops at the fields that are wrong in themselves and never reaches the checks between fields, so the
    wrong values are taken out of `root` and the rest is validated again until nothing is left to tell.

    Args:
        root: A mapping; changed in place.
        model: The schema.
        problems: Grows by one entry a mistake.
        stand_ins: Sections to go on with where a section without a default is beyond repair.

    Returns:
        None where even that fails; `problems` says why.
    """
    removed: set[KeyPath] = set()
    waiting = dict(stand_ins)
    while True:
        try:
            return model.model_validate(to_python(root))
        except ValidationError as error:
            details = error.errors(include_url=False)
        blamed: list[KeyPath] = []
        for detail in details:
            paths = _paths(root, detail)
            blamed += paths
            # An error about what was taken out, or about a list that this emptied, is no second mistake.
            if not any(gone[: len(path)] == path for gone in removed for path in paths):
                problems.append(Problem(_place(root, detail, paths), _message(detail, paths[0], model)))
        removed |= set(blamed)
        found = [remove(root, path) for path in sorted(set(blamed), key=_order, reverse=True)]
        if any(found):
            continue
        names = {str(path[0]) for path in blamed if path} & set(waiting)
        if not names:
            return None
        for name in names:
            root.value[name] = waiting.pop(name)


def _order(path: KeyPath) -> list[tuple[str, int]]:
    # Reversed, this takes out the later items of a list first, so that the earlier keep their numbers.
    return [("", step) if isinstance(step, int) else (step, 0) for step in path]


def _paths(root: Node, detail: ErrorDetails) -> list[KeyPath]:
    """The keys that an error is about; its own location may go on into the branches of a union."""
    fields = detail.get("ctx", {}).get("fields") if detail["type"] == WRONG else None
    if fields:
        return [(*detail["loc"], field) for field in fields]
    return [detail["loc"] if detail["type"] == "missing" else locate(root, detail["loc"])[0]]


_GONE = {"retrieval.rrf_k": "write retrieval.fusion: {rrf: {k: 60}} with your number"}
"""Key of an earlier version -> what takes its place."""


def _place(root: Node, detail: ErrorDetails, paths: Sequence[KeyPath]) -> Where:
    present = [path for path in paths if len(locate(root, path)[0]) == len(path)]
    return place(root, present[-1] if present else detail["loc"])


def _message(detail: ErrorDetails, path: KeyPath, model: type[BaseModel]) -> str:
    """One sentence that begins with the key, unless it names its keys itself."""
    kind, context = detail["type"], detail.get("ctx", {})
    key = ".".join(str(step) for step in path)
    if kind == "extra_forbidden" and key in _GONE:
        return f"{key} is gone: {_GONE[key]}"
    if kind == "extra_forbidden":
        return f"unknown key {key!r} ({_nearest_key(path, model)})"
    if kind == WRONG and context["fields"]:
        return detail["msg"]
    if kind == WRONG:
        return f"{key}: {detail['msg']}" if detail["msg"].startswith("'") else f"{key} {detail['msg']}"
    if kind == "missing":
        return f"{key} is missing"
    value = detail["input"]
    said = {
        "model_type": f"must be a mapping, not {shown(value)}",
        "string_type": f"must be text, not {shown(value)}" + _quotes(value),
        "int_type": f"must be a whole number, not {shown(value)}",
        "float_type": f"must be a number, not {shown(value)}",
        "bool_type": f"must be true or false, not {shown(value)}",
        "list_type": f"must be a list, not {shown(value)}",
        "tuple_type": f"must be a list, not {shown(value)}",
        "dict_type": f"must be a mapping, not {shown(value)}",
        "string_pattern_mismatch": f"must have the form {context.get('pattern')}, not {shown(value)}",
        "too_short": "must not be empty",
        "string_too_short": "must not be empty",
    }.get(kind)
    if said is None:
        text = detail["msg"].removeprefix("Value error, ").replace("Input should", "must", 1)
        said = f"{text}, not {shown(value)}" if text.startswith("must") else text
    if kind == "literal_error" and isinstance(value, str):
        options = [part.strip(" '") for part in str(context["expected"]).replace(" or ", ",").split(",")]
        close = difflib.get_close_matches(value, options, n=1)
        said += f" (did you mean {close[0]!r}?)" if close else ""
    return f"{key} {said}"


def _quotes(value: object) -> str:
    return " (put it in quotes)" if isinstance(value, bool | int | float) else ""


def _nearest_key(path: KeyPath, model: type[BaseModel]) -> str:
    """The nearest key of the same section, else the section that a key of this name belongs to, else all keys."""
    place: type[BaseModel] = model
    for step in path[:-1]:
        annotation = place.model_fields[str(step)].annotation if str(step) in place.model_fields else None
        options = get_args(annotation) or (annotation,)  # a section may be null
        inner = next((option for option in options if isinstance(option, type) and issubclass(option, BaseModel)), None)
        if inner is None:
            break
        place = inner
    name, known = str(path[-1]), list(place.model_fields)
    close = difflib.get_close_matches(name, known, n=1, cutoff=0.6)
    if close:
        return f"did you mean {close[0]!r}?"
    elsewhere = [
        f"'{section}.{name}'"
        for section, field in model.model_fields.items()
        if isinstance(field.annotation, type)
        and issubclass(field.annotation, BaseModel)
        and name in field.annotation.model_fields
    ]
    if name in model.model_fields:
        elsewhere.insert(0, repr(name))
    return f"did you mean {' or '.join(elsewhere)}?" if elsewhere else f"known: {', '.join(known) or 'none'}"


def check_specs(target: str, specs: Sequence[PluginSpec]) -> list[tuple[KeyPath, str]]:
    """What is wrong with the strategies of one target: (path from the list on, message)."""
    problems: list[tuple[KeyPath, str]] = []
    on_axis: dict[str, str] = {}
    sound: list[tuple[int, str, Any]] = []
    for number, spec in enumerate(specs):
        strategy, found = _plugin("strategy", spec)
        problems += [((number, *path), message) for path, message in found]
        if strategy is None:
            continue
        if target not in strategy.targets:
            can = " and ".join(sorted(strategy.targets))
            problems.append(((number,), f"the strategy {spec.name!r} cannot tune the {target} (it tunes: {can})"))
        other = on_axis.setdefault(strategy.axis, spec.name)
        if other == spec.name and any(earlier.name == spec.name for earlier in specs[:number]):
            problems.append(((number,), f"the strategy {spec.name!r} is listed twice"))
        elif other != spec.name:
            clash = f"{other!r} and {spec.name!r} clash: both are on the axis {strategy.axis!r}, which takes one"
            problems.append(((number,), f"the strategies {clash}"))
        if not found:
            sound.append((number, spec.name, strategy(**spec.settings)))
    return problems + _without_mixes(sound) + _without_depth(sound)


def _without_mixes(strategies: Sequence[tuple[int, str, Any]]) -> list[tuple[KeyPath, str]]:
    """Strategies, by their number in the list and name, that need mixes of what another one cannot mix."""
    return [
        ((number,), f"{name!r} needs mixes of base and tuned weights, and {other!r} has none with these settings")
        for number, name, strategy in strategies
        for _, other, owner in strategies
        if strategy.needs_mixes and owner.axis == "parameters" and not owner.mixes()
    ]


def _without_depth(strategies: Sequence[tuple[int, str, Any]]) -> list[tuple[KeyPath, str]]:
    """Strategies, by their number in the list and name, that go by depth where another one trains nothing in blocks."""
    return [
        ((number,), f"{name!r} goes by the depth of what learns, and with {other!r} nothing in the blocks does")
        for number, name, strategy in strategies
        for _, other, owner in strategies
        if strategy.by_depth and not owner.layered
    ]


def check_trials(target: str, section: TuningConfig) -> list[tuple[str, str]]:
    """What is wrong with the further trainings of one target, whose strategies are in themselves sound: (key, message).

    A sweep, a recipe and a learning curve need something to train, and a sweep around the usual rate needs one. A
    sweep beside a recipe would choose among rates that the recipe chooses too.
    """
    if not section.strategies:
        wanted = [key for key in ("sweep", "recipe", "learning_curve") if getattr(section, key, None)]
        return [(key, f"{target}.{key} has nothing to train: {target}.strategies is empty") for key in wanted]
    if section.sweep is not None and getattr(section, "recipe", None) is not None:
        why = f"{target}.sweep and {target}.recipe exclude each other: the recipe tries learning rates too"
        return [("recipe", f"{why}; set one of them to null")]
    if section.sweep == section.learning_rate == "auto":
        strategies = [plugins.load("strategy", spec.name)(**spec.settings) for spec in section.strategies]
        if all(strategy.learning_rate(target) is None for strategy in strategies):
            names = " and ".join(spec.name for spec in section.strategies)
            why = f"'auto' goes around a strategy's own rate, and {names} has none"
            return [("sweep", f"{target}.sweep: {why}: list the rates, or set {target}.learning_rate")]
    return []


def check_objective(target: str, spec: PluginSpec) -> list[tuple[KeyPath, str]]:
    """What is wrong with the objective of one target: (path from the key on, message)."""
    objective, problems = _plugin("objective", spec)
    if objective is not None and objective.target != target:
        problems.append(((), f"{spec.name!r} cannot train the {target} model, it is for the {objective.target} model"))
    return problems


def check_plugin(kind: str, spec: PluginSpec) -> list[tuple[KeyPath, str]]:
    """What is wrong with the name or the settings of a plug-in that another one names: (path, message)."""
    return _plugin(kind, spec)[1]


def check_negatives(spec: PluginSpec, hard_negatives: int) -> list[str]:
    """What is wrong with an embedding objective, in itself sound, and the number of hard negatives."""
    if hard_negatives or plugins.load("objective", spec.name)(**spec.settings).needs_teacher() is None:
        return []
    return [f"{spec.name!r} compares a question's passages: set embedding.hard_negatives to 1 or more"]


def _plugin(kind: str, spec: PluginSpec) -> tuple[Any, list[tuple[KeyPath, str]]]:
    """The plug-in's class, None where there is none, and what is wrong with its name and its settings."""
    article = "an" if kind[0] in "aeiou" else "a"
    known = plugins.names(kind)
    if spec.name not in known:
        return None, [((), f"{spec.name!r} is not {article} {kind} ({plugins.nearest(spec.name, known)})")]
    try:
        plugin: Any = plugins.load(kind, spec.name)
    except (ImportError, UserError) as error:
        return None, [((), f"the {kind} {spec.name!r} cannot be used here: {error}")]
    return plugin, _check_settings(plugin, spec)


def _check_settings(strategy: type[BaseModel], spec: PluginSpec) -> list[tuple[KeyPath, str]]:
    """The strategy's own checks, and as strict as the rest of the configuration about types.

    The settings are checked as JSON, in which a tuple is a list too, as it is in YAML.
    """

    class Strict(strategy):  # type: ignore[misc, valid-type]
        model_config = ConfigDict(strict=True, allow_inf_nan=False)

    try:
        Strict.model_validate_json(to_json(spec.settings, inf_nan_mode="constants", fallback=repr))
    except ValidationError as error:
        problems = []
        for detail in error.errors(include_url=False):
            path = detail["loc"][:1]
            problems.append(((spec.name, *path), f"{spec.name}: {_message(detail, path, strategy)}"))
        return problems
    return []
