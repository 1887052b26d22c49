"""The file that names a judge: the model, what it is asked, and how it is tested."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, model_validator

from raglift import plugins
from raglift.config_check import check_plugin, place, validate
from raglift.config_fields import Count, Name, PluginSpec, Section, Spec, wrong
from raglift.config_writer import WriterConfig
from raglift.config_yaml import Node, Problem, Where, from_python, raise_problems, read_yaml

QUESTIONS = ("correctness", "faithfulness", "answer_relevance", "context_relevance", "pairwise")
"""What is asked by default: all questions that need no settings."""
_FIX = "docs/judging.md lists every key, what it means and its default."


class JudgeConfig(Section):
    """A judge of a finished run's answers."""

    model: Name | None = None
    """A language model on this machine: a known name, a folder or a Hugging Face id. It is read by probabilities."""
    remote: WriterConfig | None = None
    """A language model behind a server, with the keys of `synthesis.writer`; `model` is left out then."""
    questions: list[Spec] = Field(default=[PluginSpec(name=name) for name in QUESTIONS], min_length=1)
    """What it is asked: names, or a name with its settings."""
    items: Count = 100
    """Known right answers that it is tested on, and as many known wrong ones."""
    floor: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Youden's J that the lower end of its interval must be above for the judge to be believed."""
    max_answers: Count | None = None
    """Most answers of an arm and question set that are judged, drawn with the run's seed; null: all."""

    @model_validator(mode="after")
    def _one_model(self) -> JudgeConfig:
        if self.model is not None and self.remote is not None:
            raise wrong("model and remote name two judges: leave one out", "remote")
        names = [spec.name for spec in self.questions]
        twice = next((name for name in names if names.count(name) > 1), None)
        if twice is not None:
            raise wrong(f"questions names {twice!r} twice", "questions")
        return self


def judge_config(judge: str | None, questions: Sequence[str] = (), **settings: Any) -> JudgeConfig:
    """The judge that a YAML file describes or whose model is named, with what is given beside it winning.

    Args:
        judge: A path that ends in .yaml or .yml, or a model's name; None: a model that is passed from Python.
        questions: Names of questions, in place of the file's; those that the file has keep their settings.
        settings: `items`, `floor` and `max_answers`; None leaves them as they are.

    Raises:
        UserError: Lists every mistake as `file:line: message`.
    """
    problems: list[Problem] = []
    where = Where("command line" if judge else "judge")
    if judge is not None and judge.endswith((".yaml", ".yml")):
        root = read_yaml(Path(judge), problems) or Node({}, Where(judge))
    else:
        root = Node({}, where) if judge is None else from_python({"model": judge}, where, problems)
    given = {name: value for name, value in settings.items() if value is not None}
    root.value.update(from_python(given, where, problems).value)
    config = validate(root, JudgeConfig, problems, {})
    if config is not None and questions:
        config = config.model_copy(update={"questions": _chosen(config, questions, where, problems)})
    if config is not None:
        for number, spec in enumerate(config.questions):
            for path, message in check_plugin("judge question", spec):
                at = where if questions else place(root, ("questions", number, *path))
                problems.append(Problem(at, f"questions: {message}"))
    told = [Problem(problem.where, problem.message.replace("synthesis.writer", "remote")) for problem in problems]
    raise_problems(told, _FIX)
    assert config is not None  # what stood in the way of it was a problem
    return config


def _chosen(config: JudgeConfig, names: Sequence[str], where: Where, problems: list[Problem]) -> list[PluginSpec]:
    """The named questions with the settings that the file gives them."""
    known, in_file = plugins.names("judge question"), {spec.name: spec for spec in config.questions}
    for name in names:
        if name not in known:
            problems.append(Problem(where, f"{name!r} is no judge question ({plugins.nearest(name, known)})"))
    return [in_file.get(name, PluginSpec(name=name)) for name in dict.fromkeys(names) if name in known]
