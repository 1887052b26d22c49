"""The reranker stage: lists of passages in, a tuned cross-encoder out, or none if nothing beat the first stage."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from sentence_transformers import CrossEncoder
from torch import nn

from raglift.config import RerankConfig
from raglift.corpus.stage import Corpus
from raglift.errors import UserError
from raglift.index.fusion_stage import LEAST
from raglift.index.mixed_order import mixed
from raglift.index.ranking import Ranking
from raglift.job import Job
from raglift.models.device import Runtime
from raglift.models.find import FoundModel
from raglift.models.reranker import (
    CrossEncoderReranker,
    Reranker,
    is_cross_encoder,
    is_language_model,
    load_reranker,
)
from raglift.models.rerankers import open_reranker
from raglift.progress import Progress
from raglift.records import QAPair
from raglift.training import recipe
from raglift.training.accelerating import processes
from raglift.training.embedding_stage import mean_over_sets, save, without_attention_dropout
from raglift.training.lists import ListBatches
from raglift.training.loop import Candidate, Fitted, Task, fit
from raglift.training.outcome import (
    BASE,
    NOT_RERANKED,
    UNTUNED,
    mixed_name,
    objective_of,
    strategies_of,
    write_outcome,
)
from raglift.training.pairs import Pair
from raglift.training.schedule import Settings
from raglift.training.strategy import shortened_by

VERSION = 4
_SHARES = (0.0, 0.2, 0.4, 0.6, 0.8)
"""Weights of the first stage's scores that are tried; of equals the first, which leaves the reranker its own order."""
_EQUAL_PARTS = (0.5,)


class DevScore:
    """Mean nDCG@10 on the development questions when the first stage's passages are put in order by a model.

    Those of people and the synthetic ones count equally as sets.

    Args:
        sets: The questions of each set, all with evidence, and what the first stage found for them.
    """

    def __init__(
        self, sets: Sequence[Sequence[tuple[QAPair, Ranking]]], corpus: Corpus, runtime: Runtime, display: Progress
    ) -> None:
        self._sets = [asked for asked in sets if asked]
        self._text_of = corpus.text_of
        self._document_of = {chunk.id: chunk.document_id for chunk in corpus.chunks}
        self._runtime = runtime
        self._display = display

    def __len__(self) -> int:
        return sum(len(asked) for asked in self._sets)

    @property
    def first_stage(self) -> float:
        """The score of the first stage's own order."""
        return self._mean([ranking for asked in self._sets for _, ranking in asked])

    def __call__(self, model: nn.Module) -> float:
        """The score of a model as it stands."""
        assert isinstance(model, CrossEncoder)
        return self.of(CrossEncoderReranker(model, self._runtime))

    def of(self, reranker: Reranker) -> float:
        """The score of a reranker's order."""
        return self.of_mixes(reranker, (0.0,))[0.0]

    def of_mixes(self, reranker: Reranker, shares: Sequence[float]) -> dict[float, float]:
        """Share -> the score of the reranker's order mixed with so much of the first stage's; all is read once."""
        every = [(question.question, ranking) for asked in self._sets for question, ranking in asked]
        pairs = sum(len(ranking) for _, ranking in every)
        with self._display.stage("scoring the development split", pairs, "passages") as bar:
            reranked = reranker.rerank(every, self._text_of, bar.advance)
        first = [ranking for _, ranking in every]
        return {share: self._mean(mixed(first, reranked, share)) for share in shares}

    def _mean(self, rankings: Sequence[Ranking]) -> float:
        """The score of rankings in the order of all sets' questions."""
        left = iter(rankings)
        ranked = [([q for q, _ in asked], {q.id: next(left) for q, _ in asked}) for asked in self._sets]
        return mean_over_sets(ranked, self._document_of)


def check_base(settings: RerankConfig, base: FoundModel) -> None:
    """Refuse to tune what is not tuned.

    Raises:
        UserError: The base is a language model, and there are strategies.
    """
    if settings.strategies and is_language_model(base.path):
        raise UserError(
            f"{base.name!r} is a language model, and is not tuned as a reranker.",
            "It puts passages in order by how likely it finds the question after each, as it comes.",
            "Set rerank.strategies: [], or name a cross-encoder or an embedding model as rerank.model.",
        )


def build(
    settings: RerankConfig,
    rows: Sequence[Pair],
    dev: Sequence[Sequence[tuple[QAPair, Ranking]]],
    corpus: Corpus,
    base: FoundModel,
    runtime: Runtime,
    job: Job,
) -> None:
    """Train and write `model/` (a plain CrossEncoder folder, or what the strategy saves), model.json, training.json.

    The model's order is mixed with the share of the first stage's scores that is best on the development questions.
    What is chosen is "not reranked" where no model beat the first stage's own order, and "base" where a cross-encoder
    was given and none that was tuned beat it.

    Args:
        rows: Training pairs with their negatives.
        dev: Development question sets with the first stage's rankings, which choose the checkpoint.
        base: A cross-encoder, an embedding model that is given a head, or a language model.

    Raises:
        UserError: See `check_base`.
    """
    check_base(settings, base)
    asked, shares = choosing(settings, dev, is_language_model(base.path))
    score = DevScore(asked, corpus, runtime, job.display)
    fresh = not is_cross_encoder(base.path) and not is_language_model(base.path)
    trains = bool(settings.strategies) and len(rows) > 1
    if not len(score) or (fresh and not trains):
        job.display.warn("Nothing to train the reranker on or to choose by: passages stay in the first stage's order.")
        fitted, loop, share = Fitted(nn.Identity(), NOT_RERANKED, (), ()), None, 0.0
    else:
        job.display.say(f"  the first stage's own order on the development split: {score.first_stage:.4f}")
        fitted, loop, share = _fitted(settings, rows if trains else (), score, shares, fresh, base, runtime, job)
    write_outcome(job.out, "rerank", base, settings.strategies, fitted, loop, share)


def choosing(
    settings: RerankConfig, dev: Sequence[Sequence[tuple[QAPair, Ranking]]], language_model: bool
) -> tuple[Sequence[Sequence[tuple[QAPair, Ranking]]], tuple[float, ...]]:
    """The questions that choose, and the shares of the first stage's scores among which they do.

    A language model finds a question likely after the passage from which it, or one like it, wrote it: by synthetic
    questions it would always be believed. So people's choose where there are enough of them, and where not, both orders
    count alike.
    """
    given = settings.first_stage_share
    shares = _SHARES if given == "auto" else (given,)
    if not language_model:
        return dev, shares
    people = [[pair for pair in asked if pair[0].origin == "human"] for asked in dev]
    if sum(map(len, people)) >= LEAST:
        return people, shares
    return dev, _EQUAL_PARTS if given == "auto" else shares


def _fitted(
    settings: RerankConfig,
    rows: Sequence[Pair],
    score: DevScore,
    shares: Sequence[float],
    fresh: bool,
    base: FoundModel,
    runtime: Runtime,
    job: Job,
) -> tuple[Fitted, Settings | None, float]:
    """What came out of the training, saved where it is used, with the first stage's own order among the candidates; and
    the share that the first stage's scores keep."""
    if not rows:
        mixes = score.of_mixes(open_reranker(base.path, runtime), shares)
        fitted, share = _with_first_stage(Fitted(nn.Identity(), BASE, (), ()), mixes, score.first_stage)
        return fitted, None, share
    model = load_reranker(base.path, runtime)
    without_attention_dropout(model)
    strategies = strategies_of(settings.strategies)
    objective = objective_of(settings.objective)
    batches = ListBatches(rows, model, settings.batch_size, job.seed)
    loop = recipe.loop_settings(settings, "rerank", strategies, len(rows), len(batches))
    beaten = score.first_stage if fresh else None
    # A pair is in one list alone: a single pass would look each of them up once.
    again = loop.steps * loop.accumulation * processes() > len(batches)
    short = shortened_by(strategies, model, "rerank", runtime) if again else None
    if short is not None and short.fill is not None:
        short.fill(batches.runs(), job)
    task = Task("rerank", batches, objective.build(model), score, objective.weight, beaten)
    fitted = fit(model, task, strategies, loop, runtime, job)
    tuned = fitted.model
    assert isinstance(tuned, CrossEncoder)
    if short is not None:
        short.whole(tuned)
    if fresh:  # a new head is no candidate
        fitted = replace(fitted, candidates=tuple(c for c in fitted.candidates if c.name != BASE))
    mixes = {}
    if not fresh or fitted.chosen != BASE:
        alone = {candidate.name: candidate.score for candidate in fitted.candidates}[fitted.chosen]
        left = [share for share in shares if share]
        more = score.of_mixes(CrossEncoderReranker(tuned, runtime), left) if left else {}
        mixes = ({0.0: alone} if 0.0 in shares else {}) | more
    fitted, share = _with_first_stage(fitted, mixes, score.first_stage)
    if fitted.chosen not in UNTUNED:
        save(fitted.model, strategies, job)
    return fitted, loop, share


def _with_first_stage(fitted: Fitted, mixes: Mapping[float, float], first: float) -> tuple[Fitted, float]:
    """The choice between what was fitted, with some share of the first stage's scores, and the first stage's own order.

    Args:
        mixes: Share -> score of what was fitted; empty where it is no candidate.
        first: The score of the first stage's own order.
    """
    named = {share: mixed_name(fitted.chosen, share) for share in mixes}
    known = {candidate.name for candidate in fitted.candidates}
    tried = [Candidate(named[share], value) for share, value in mixes.items() if named[share] not in known]
    share = max(mixes, key=lambda each: (mixes[each], -each), default=0.0)
    wins = bool(mixes) and mixes[share] > first
    candidates = (Candidate(NOT_RERANKED, first), *fitted.candidates, *tried)
    chosen = fitted.chosen if wins else NOT_RERANKED
    return replace(fitted, chosen=chosen, candidates=candidates), share if wins else 0.0
