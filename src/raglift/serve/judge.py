"""A finished run's answers before a judge: tested first, then believed or refused."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from llama_index.core.llms import LLM

from raglift import plugins
from raglift.artifacts import write_json
from raglift.config import SynthesisConfig
from raglift.config_judge import JudgeConfig, judge_config
from raglift.errors import UserError
from raglift.evaluation.stage import clusters
from raglift.evaluation.statistics import Resampling
from raglift.judging.arms import Arms, Judged, Trial, judge_arms
from raglift.judging.judge import Judge, about, journal_of
from raglift.judging.known import arm_items, known_items
from raglift.judging.questions._base import JudgeQuestion
from raglift.models.find import find_model, revision_of
from raglift.models.generation import Generator
from raglift.models.llm import LiftLLM, context_window, load_causal_lm, load_tokenizer
from raglift.progress import Progress
from raglift.records import Answered, QAPair, content_id, read_jsonl, write_jsonl
from raglift.serve.models import GENERATION_BATCH
from raglift.serve.result import RunResult
from raglift.synthesis.llm_build import identity, llm_writer
from raglift.workspace import hold

FILE = "judge.json"
FOLDER = "judges"
"""In the run's folder: what judges have said, a journal and the scores of each."""


def judge_with(
    result: RunResult, llm: LLM | str, questions: Sequence[str] = (), quiet: bool = False, **settings: Any
) -> dict[str, Any]:
    """`judge_run`, from Python.

    Args:
        llm: A LlamaIndex language model, the name or folder of one on this machine, or a YAML file of a judge.
        questions: Names of what it is asked; by default all that need no settings, or those of the file.
        settings: `items`, `floor` and `max_answers`, as in such a file.

    Returns:
        As `judge_run`. A judge that is refused is no error: `questions[NAME]["health"]["refused"]` says why.

    Raises:
        UserError: A mistake in what is given; or as for `judge_run`.

    Example:
        >>> raglift.open_run("quickstart").judge(llm)["questions"]["correctness"]["health"]["believed"]
        True
    """
    display = Progress(quiet=quiet)
    if isinstance(llm, str):
        return judge_run(result, judge_config(llm, questions, **settings), display=display)
    return judge_run(result, judge_config(None, questions, **settings), llm, display)


def judge_run(
    result: RunResult, config: JudgeConfig, llm: LLM | None = None, display: Progress | None = None
) -> dict[str, Any]:
    """Test a judge on the run's own questions and, where it is believed, let it score every arm's answers.

    The outcome is kept in judge.json in the run's folder under the judge's name, each single score in
    `judges/IDENTITY-SET-scores.jsonl`; what was asked is asked no more.

    Args:
        llm: The judge, in place of the one that the config names.

    Returns:
        `judge`, `questions` (each with its `health`), `scores` (set -> arm -> question), `differences`, `own_answers`
        (the arms whose answers the judge wrote itself).

    Raises:
        UserError: The judge is the run's tuned model, cannot be had, or failed.
    """
    display = display or Progress()
    judge = judge_of(result, config, llm)
    refuse_tuned(result, judge.llm)
    questions = {spec.name: _question(spec.name, spec.settings) for spec in config.questions}
    seed, folder = result.config.seed, result.folder / FOLDER
    asked, sets = read_answers(result, config.max_answers)
    everything = [question for each in asked.values() for question in each]
    trial = Trial(
        known_items(everything, result.corpus.chunks, seed),
        config.items,
        config.floor,
        {name: Resampling(clusters(each), seed, result.config.evaluation.resamples) for name, each in asked.items()},
        seed,
    )
    with hold(result.workspace, f"judge of {result.folder.name}"):
        journal = journal_of(folder, judge)
        try:
            judged = judge_arms(judge, questions, sets, trial, journal, display)
        finally:
            journal.close()
        for name, scores in judged.scores.items():
            write_jsonl(folder / f"{judge.identity}-{name}-scores.jsonl", scores)
        value = _summary(result, judge, questions, judged, config)
        _keep(result.folder / FILE, judge.name, value)
    return value


def judge_of(result: RunResult, config: JudgeConfig, llm: LLM | None = None) -> Judge:
    """The judge that is passed or that the config names.

    Raises:
        UserError: None is named, the model is not there, or its package or key is missing.
    """
    if llm is not None:
        if not isinstance(llm, LLM):
            raise UserError("The judge is not a LlamaIndex LLM.", f"It is a {type(llm).__name__}.")
        own = ("LiftLLM", llm.name, str(llm.generator.model.dtype)) if isinstance(llm, LiftLLM) else identity(llm)
        return Judge(llm, content_id("judge", own))
    if config.remote is not None:
        try:
            writer = llm_writer(SynthesisConfig(writer=config.remote), 0)
        except UserError as error:
            parts = (text.replace("synthesis.writer", "remote") for text in (error.what, error.why, error.fix))
            raise UserError(*parts) from error
        assert writer is not None  # a remote model is named
        if "max_retries" in type(writer.llm).model_fields:
            writer.llm.max_retries = config.remote.retries  # type: ignore[attr-defined]
        return Judge(writer.llm, writer.identity, writer.name, config.remote.concurrency, writer.redact)
    if config.model is None:
        raise UserError(
            "No judge is named.",
            "Its model is given by `model` or `remote`.",
            "--judge takes a model's name or a YAML file; from Python pass a LlamaIndex LLM.",
        )
    return judge_of(result, config, local_judge(result, config.model))


def local_judge(result: RunResult, name: str) -> LiftLLM:
    """A language model on this machine, in the run's precision.

    Raises:
        UserError: There is no such model.
    """
    found = find_model(name)
    generator = Generator(load_causal_lm(found.path, result.runtime), load_tokenizer(found.path), GENERATION_BATCH)
    window = context_window(found.path)
    return LiftLLM(generator, name=f"{name}@{found.revision}", context_window=window, source=found.path)


def refuse_tuned(result: RunResult, llm: LLM) -> None:
    """Refuse the run's own tuned language model: it was trained toward what it would judge.

    Known by its name, its folder, or the bytes of its files wherever they lie.

    Raises:
        UserError: It is the tuned model.
    """
    models = result.models
    tuned, base = models.llm_key("tuned"), models.llm_key("base")
    folder = _folder(llm)
    if tuned == base:
        return
    own = models.path("llm", "tuned")
    named = isinstance(llm, LiftLLM) and llm.name.partition("@")[2].split("+")[0] == tuned
    same = folder is not None and (folder.resolve() == own.resolve() or revision_of(folder) == revision_of(own))
    if named or same:
        raise UserError(
            "The judge is the run's own tuned language model.",
            "It was trained toward the answers that it would judge, and would find its own errors right.",
            "Take another model, such as the base or a larger one.",
        )


def _folder(llm: LLM) -> Path | None:
    """Where a local model's files lie."""
    source = llm.source if isinstance(llm, LiftLLM) else Path(llm.metadata.model_name or "")
    return source if source != Path() and source.is_dir() else None


def _question(name: str, settings: Mapping[str, Any]) -> JudgeQuestion:
    found: JudgeQuestion = plugins.load("judge question", name)(**settings)
    return found


def read_answers(result: RunResult, most: int | None) -> tuple[dict[str, list[QAPair]], dict[str, Arms]]:
    """Question set -> its questions, and -> what each arm answered.

    Args:
        most: Questions of a set at most, drawn with the run's seed.

    Raises:
        UserError: No arm has answered.
    """
    folder = result.artifact("evaluation").path
    questions: dict[str, list[QAPair]] = {}
    sets: dict[str, Arms] = {}
    for file in sorted(folder.glob("*-questions.jsonl")):
        name = file.name.removesuffix("-questions.jsonl")
        asked = read_jsonl(file, QAPair)
        answered = read_jsonl(folder / f"{name}-answered.jsonl", Answered)
        arms = arm_items(asked, answered, most, result.config.seed)
        questions[name] = asked
        if arms:
            sets[name] = arms
    if not sets:
        raise UserError(
            f"The run {result.state['run']!r} has no answers to judge.",
            "Its questions have no reference answers, so that its arms were only asked for rankings.",
            "Give the run questions with answers.",
        )
    return questions, sets


def _summary(
    result: RunResult, judge: Judge, questions: Mapping[str, JudgeQuestion], judged: Judged, config: JudgeConfig
) -> dict[str, Any]:
    """What judge.json keeps of a judge."""
    asked = {
        name: {
            "about": question.about,
            "version": question.version,
            "settings": question.model_dump(mode="json"),
            "health": judged.health[name].as_json(),
        }
        for name, question in questions.items()
    }
    return {
        "run": result.state["run"],
        "evaluation": result.key("evaluation"),
        "judge": about(judge),
        "items": config.items,
        "floor": config.floor,
        "questions": asked,
        "scores": judged.cells,
        "differences": judged.differences,
        "own_answers": _own_answers(result, judge.llm),
    }


def _own_answers(result: RunResult, llm: LLM) -> list[str]:
    """The arms whose answers the judge wrote itself, which judges are known to favour (Panickssery et al. 2024)."""
    folder = _folder(llm)
    if folder is None or revision_of(folder) != result.models.llm.revision:
        return []
    return [arm.name for arm in result.models.arms if arm.llm == "base"]


def _keep(file: Path, name: str, value: dict[str, Any]) -> None:
    """Put the judge beside those that are there; of one of the same name the last word stays."""
    try:
        kept = json.loads(file.read_text("utf-8"))
        kept = kept if isinstance(kept, dict) else {}
    except (OSError, ValueError):
        kept = {}
    write_json(file, kept | {name: value})
