"""What a run's tuned models have forgotten: text, knowledge and retrieval outside of the run's documents."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

from raglift.artifacts import Store, stage_key, write_json
from raglift.corpus.human import human_pairs, warn_of_dropped
from raglift.corpus.judged import read_beir
from raglift.errors import UserError
from raglift.evaluation.probe import NAME, Probe, read_probe
from raglift.evaluation.rates import wilson
from raglift.evaluation.retention import BASE, LOSS, MARGIN, TUNED, Retained, check_margin, retained
from raglift.evaluation.stage import clusters
from raglift.evaluation.statistics import Resampling
from raglift.job import Job
from raglift.progress import Progress
from raglift.records import Document, Score, content_id, read_jsonl
from raglift.serve import probing
from raglift.serve.probing import BITS, F1, RETRIEVAL, RIGHT, SCORES, Judged
from raglift.serve.result import RunResult
from raglift.synthesis.closed_book import PREFIX
from raglift.workspace import hold

FILE = "forgetting.json"
STAGE = "forgetting"
_UNTUNED = "Nothing beat the base: the run goes on with it, and there is nothing that it could have forgotten."


@dataclass(frozen=True, slots=True)
class ClosedBook:
    """Of the closed-book questions, how many each model answers rightly.

    Attributes:
        asked: All of them.
        base_right: Answered rightly by the base.
        tuned_right: By the tuned model.
        kept: By both.
        retention: `kept` of `base_right`, with `retention_low` and `retention_high` (Wilson 1927); None of none.
            Describes, and gets no decision: some of what the base gets right is luck, which nobody keeps.
        lost: Ids of the questions that the base alone answers rightly.
        gained: Of those that the tuned model alone does.
    """

    asked: int
    base_right: int
    tuned_right: int
    kept: int
    retention: float | None
    retention_low: float
    retention_high: float
    lost: list[str]
    gained: list[str]


@dataclass(frozen=True, slots=True)
class Model:
    """One tuned model of a run against its base.

    Attributes:
        target: "llm" or "embedding".
        base: The base's name.
        tuned: The key of its training; None where the base won, and then there are no figures.
        figures: One a set and metric, each with a decision.
        described: Further figures of both, without a decision: `perplexity` and `bits_per_byte` -> "base", "tuned".
        closed_book: Of a language model.
        note: What else there is to say; may be empty.
    """

    target: Literal["llm", "embedding"]
    base: str
    tuned: str | None
    figures: list[Retained]
    described: dict[str, dict[str, float | None]]
    closed_book: ClosedBook | None
    note: str


@dataclass(frozen=True, slots=True)
class Forgetting:
    """What forgetting.json holds.

    Attributes:
        margin: The largest loss that does not matter.
        probe: `key`, and how many `passages`, `questions` and `closed_book` questions it has.
        data: Name of the further corpus; None: none was given.
    """

    run: str
    margin: float
    probe: dict[str, Any]
    data: str | None
    models: list[Model]

    @property
    def forgot(self) -> list[Retained]:
        """The figures on which something was forgotten."""
        return [figure for model in self.models for figure in model.figures if figure.decision == "forgot"]


def measure_forgetting(
    run: RunResult, data: str | Path | None = None, margin: float = MARGIN, display: Progress | None = None
) -> Forgetting:
    """Hold each tuned model of a finished run against its base on text that has nothing to do with its documents, and
    write forgetting.json into the run's folder.

    The language model reads the passages of the probe that ships with raglift and answers its closed-book questions;
    the embedding model ranks the passages for their questions. What the models did is kept in the workspace: a second
    call computes nothing but the decisions, and one after an interruption goes on.

    Args:
        data: A further corpus for the embedding model, in BEIR layout; not the run's own.
        margin: The largest loss that does not matter: of scores in [0, 1], and of the loss in nats a token.

    Raises:
        UserError: The margin decides nothing, the corpus is not in BEIR layout, or a base model is not the run's.

    Example:
        >>> [figure.metric for figure in measure_forgetting(run).forgot]
        []
    """
    check_margin(margin)
    display = display or Progress()
    probe = read_probe()
    corpora = [Judged(NAME, probe.passages, probe.questions)]
    if data is not None:
        corpora.append(_judged(run, Path(data).expanduser(), display))
    run.check_models()
    with hold(run.workspace, f"forgetting of {run.folder.name}"):
        models = [_llm(run, probe, margin, display), _embedding(run, corpora, margin, display)]
        counts = {"passages": probe.passages, "questions": probe.questions, "closed_book": probe.closed_book}
        about = {"key": probe.key} | {name: len(items) for name, items in counts.items()}
        name = corpora[1].name if data is not None else None
        found = Forgetting(run.state["run"], margin, about, name, models)
        write_json(run.folder / FILE, asdict(found))
    return found


def _judged(run: RunResult, folder: Path, display: Progress) -> Judged:
    """Another corpus, with the questions that it has a document for."""
    documents, questions = read_beir(str(folder))
    pairs, _ = human_pairs(questions, documents, [], 0.0, 0)
    answered = [pair for pair in pairs if pair.evidence]
    if not answered:
        raise UserError(
            f"No question of {folder} has a judged document in its corpus.",
            "Without one nothing can be ranked right.",
            "Give a set whose qrels name documents of its corpus.jsonl.",
        )
    warn_of_dropped(questions, pairs, display.warn)
    if 2 * len(_texts(documents) & _texts(run.corpus.documents)) > len(documents):
        display.warn(
            f"{folder} holds the run's own documents, on which tuning helps: it says nothing of what was forgotten. "
            "`raglift evaluate --data` scores the run's arms there."
        )
    name = folder.resolve().name
    return Judged(f"{name} (--data)" if name == NAME else name, documents, answered)


def _texts(documents: Sequence[Document]) -> set[str]:
    return {" ".join(document.text.split()) for document in documents}


def _llm(run: RunResult, probe: Probe, margin: float, display: Progress) -> Model:
    base, tuned = run.models.llm_key(BASE), run.models.llm_key(TUNED)
    name = run.config.llm.model
    if tuned == base:
        return Model("llm", name, None, [], {}, None, _UNTUNED)
    settings = {"target": "llm", "probe": probe.key, "asked": content_id(PREFIX)}
    write = partial(probing.probe_llm, run.models, probe)
    scores = _scores(run, settings, {"base": base, "tuned": tuned}, write, display)
    resampling = Resampling({}, run.config.seed, run.config.evaluation.resamples)
    figures = retained(scores, NAME, [LOSS, RIGHT, F1], margin, resampling)
    known = _closed_book(scores)
    return Model("llm", name, tuned, figures, _described(scores), known, _knows_little(known, margin))


def _knows_little(known: ClosedBook, margin: float) -> str:
    if known.base_right > 2 * margin * known.asked:
        return ""
    return (
        f"The base answers {known.base_right} of {known.asked} closed-book questions rightly: it has hardly any "
        "knowledge of this kind to forget, and its figures cannot show that none was lost."
    )


def _embedding(run: RunResult, corpora: Sequence[Judged], margin: float, display: Progress) -> Model:
    base, tuned = run.models.embedding_key(BASE), run.models.embedding_key(TUNED)
    name = run.config.embedding.model
    if tuned == base:
        return Model("embedding", name, None, [], {}, None, _UNTUNED)
    figures: list[Retained] = []
    for judged in corpora:
        settings = {
            "target": "embedding",
            "documents": content_id([[document.id, document.text] for document in judged.documents]),
            "questions": content_id([asdict(question) for question in judged.questions]),
            "metrics": list(RETRIEVAL),
        }
        write = partial(probing.probe_embedding, run.models, judged)
        scores = _scores(run, settings, {"base": base, "tuned": tuned}, write, display)
        resampling = Resampling(clusters(judged.questions), run.config.seed, run.config.evaluation.resamples)
        figures += retained(scores, judged.name, RETRIEVAL, margin, resampling)
    return Model("embedding", name, tuned, figures, {}, None, "")


def _scores(
    run: RunResult,
    settings: dict[str, Any],
    inputs: dict[str, str],
    write: Callable[[Job], None],
    display: Progress,
) -> list[Score]:
    """Every score of both models, from the workspace if they are there."""
    key = stage_key(STAGE, probing.VERSION, settings, inputs)
    artifact = Store(run.workspace).build(
        STAGE, key, lambda out: write(Job(out, run.config.seed, display)), display.warn
    )
    return read_jsonl(artifact.path / SCORES, Score)


def _closed_book(scores: Sequence[Score]) -> ClosedBook:
    right = {arm: [s.qa_id for s in scores if (s.metric, s.arm, s.value) == (RIGHT, arm, 1.0)] for arm in (BASE, TUNED)}
    asked = sum((score.metric, score.arm) == (RIGHT, BASE) for score in scores)
    lost = [name for name in right[BASE] if name not in right[TUNED]]
    gained = [name for name in right[TUNED] if name not in right[BASE]]
    still = len(right[BASE]) - len(lost)
    kept = wilson(still, len(right[BASE]))
    return ClosedBook(asked, kept.n, len(right[TUNED]), still, kept.known, kept.low, kept.high, lost, gained)


def _described(scores: Sequence[Score]) -> dict[str, dict[str, float | None]]:
    """Perplexity, of the mean loss, and bits a byte: of each model over the passages that it has a figure of."""

    def mean(metric: str, arm: str) -> float | None:
        found = [s.value for s in scores if (s.metric, s.arm) == (metric, arm) and s.value is not None]
        return sum(found) / len(found) if found else None

    def perplexity(loss: float | None) -> float | None:
        return None if loss is None else math.exp(min(loss, 700.0))  # beyond it no float holds it

    return {
        "perplexity": {arm: perplexity(mean(LOSS, arm)) for arm in (BASE, TUNED)},
        BITS: {arm: mean(BITS, arm) for arm in (BASE, TUNED)},
    }
