"""The embedding model's trainings: as its section says, or as a recipe finds them, and its learning curve."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from raglift.artifacts import Artifact
from raglift.config import EmbeddingConfig, TuningConfig
from raglift.evaluation.stage import clusters
from raglift.job import Job
from raglift.pipeline_tuning import Materials, Tuning, TuningStages
from raglift.progress import Progress
from raglift.records import QAPair
from raglift.synthesis import hard_negatives
from raglift.synthesis.inverse_cloze import with_inverse_clozes
from raglift.training import curve_stage, dev_stage, embedding_stage
from raglift.training.gains import DevValues, Judge
from raglift.training.ingredients._base import Size
from raglift.training.outcome import embedding_objective_of, read_outcome
from raglift.training.pairs import Pair
from raglift.training.recipe_search import RecipeSearch, Training
from raglift.training.trials import Trial, Trials, Variant, portion

_MINED = "hard_negatives"


@dataclass(frozen=True, slots=True)
class _From:
    """What the embedding model's trainings are made from."""

    corpus: Artifact
    questions: Artifact
    index: Artifact


class EmbeddingStages(TuningStages):
    """The stages that tune the embedding model."""

    def _embedding(self, corpus: Artifact, questions: Artifact, index: Artifact) -> None:
        made_from = _From(corpus, questions, index)
        tuning = self._embedding_tuning(made_from)
        curve = self._tuned(tuning) if self._config.embedding.recipe is None else self._by_recipe(tuning, made_from)
        if curve:
            self._learning_curve(corpus, questions, curve)

    def _embedding_tuning(self, made_from: _From) -> Tuning:
        mined: dict[str, list[Artifact]] = {}

        def wrong_passages(config: EmbeddingConfig) -> list[Artifact]:
            key = str((config.hard_negatives, config.hard_negative_ceiling, config.objective))
            if key not in mined:
                mined[key] = self._mined(config, made_from)
            return mined[key]

        @cache
        def pairs(mined: Path | None, clozes: float) -> list[Pair]:
            # Made from the questions alone, so that the language model's settings do not retrain this one.
            found = hard_negatives.load_pairs(mined) if mined else self._pairs_to_learn(made_from.questions)
            return with_inverse_clozes(found, self._loaded, clozes, self._config.seed)

        def rows(config: EmbeddingConfig) -> list[Pair]:
            found = wrong_passages(config)
            return pairs(found[-1].path if found else None, config.inverse_cloze)

        def learned(config: TuningConfig) -> list[Pair]:
            assert isinstance(config, EmbeddingConfig)
            objective = embedding_objective_of(config.objective)
            return embedding_stage.learnable(rows(config), objective, Progress(quiet=True))

        def made_of(config: TuningConfig) -> Materials:
            assert isinstance(config, EmbeddingConfig)
            found = wrong_passages(config)
            keys = {"corpus": made_from.corpus.key, "questions": made_from.questions.key, **self._pair_keys()}
            if not found:
                return Materials(keys)
            return Materials({**keys, "hard negatives": found[-1].key}, {_MINED: found[0].path})

        def write(variant: Variant, job: Job) -> None:
            settings, share = variant.config, variant.share
            assert isinstance(settings, EmbeddingConfig)
            whole = rows(settings) if share == 1 else learned(settings)
            some = portion(whole, share, lambda pair: pair.query, job.seed)
            dev = self._dev_sets(made_from.questions)
            corpus = self._corpus_of_pairs
            embedding_stage.build(settings, some, dev, corpus, self._models.embedding, self._runtime, job)

        version, config = embedding_stage.VERSION, self._config.embedding
        return Tuning("embedding", version, config, made_of, write, lambda config: len(learned(config)))

    def _mined(self, config: EmbeddingConfig, made_from: _From) -> list[Artifact]:
        """The hard negatives, and then with a teacher's scores where the objective learns any; empty without them."""
        if not config.hard_negatives:
            return []
        label = _MINED if self._config.embedding.recipe is None else _mined_for_recipe(config)
        found = [self._hard_negatives(config, made_from.corpus, made_from.questions, made_from.index, label)]
        spec = embedding_objective_of(config.objective).needs_teacher()
        if spec is not None:
            found.append(self._teacher_scores(spec, made_from.corpus, made_from.index, found[0]))
        return found

    def _by_recipe(self, tuning: Tuning, made_from: _From) -> list[Trial]:
        """The training that a recipe finds, and those of its learning curve."""
        config, dev = self._config.embedding, self._dev_sets(made_from.questions)
        size = Size(
            len(self._pairs_to_learn(made_from.questions)),
            sum(self._loaded.split_of[chunk.document_id] == "train" for chunk in self._loaded.chunks),
        )
        judge = Judge({k: v for questions in dev for k, v in clusters(questions).items()}, 1, self._config.seed)
        training = Training(
            lambda variant: self._train(tuning, variant),
            lambda trial: self._dev_values(trial, made_from, dev),
            lambda record: self._runner.decide("embedding.recipe", record),
        )
        kept, record = RecipeSearch(config, size, judge, training, self._display).run()
        found = kept.variant.config
        assert isinstance(found, EmbeddingConfig)
        if found.hard_negatives:
            self._runner.go_on_with(_mined_for_recipe(found), _MINED)
        trials = Trials("embedding", config, training.train, lambda: tuning.examples(found), self._display)
        return self._kept(tuning, trials, kept, {"recipe": record})

    def _dev_values(self, trial: Trial, made_from: _From, dev: Sequence[Sequence[QAPair]]) -> DevValues:
        """What a training's model, or the base where that was chosen, finds of each development question."""
        tuned = read_outcome(trial.artifact.path, "").tuned
        base = self._revisions["embedding"]
        artifact = self._runner.stage(
            "dev_scores",
            dev_stage.VERSION,
            {},
            {
                "corpus": made_from.corpus.key,
                "questions": made_from.questions.key,
                "base": base,
                "model": trial.artifact.key if tuned else base,
            },
            lambda job: dev_stage.build(tuned, dev, self._loaded, self._models.embedding, self._runtime, job),
            trial.variant.label.replace("embedding", "dev_scores", 1),
        )
        return dev_stage.load(artifact.path)

    def _learning_curve(self, corpus: Artifact, questions: Artifact, trials: Sequence[Trial]) -> None:
        """What the embedding model of each share finds of the test questions."""
        trained = {str(trial.variant.share): read_outcome(trial.artifact.path, "").tuned for trial in trials}
        resamples = self._config.evaluation.resamples
        artifact = self._runner.stage(
            "learning_curve",
            curve_stage.VERSION,
            {"resamples": resamples, "seed": self._config.seed},
            {
                "corpus": corpus.key,
                "questions": questions.key,
                "base": self._revisions["embedding"],
                **{str(trial.variant.share): trial.artifact.key for trial in trials},
            },
            lambda job: curve_stage.build(
                trained,
                self._test_sets(questions),
                self._loaded,
                self._models.embedding,
                self._runtime,
                resamples,
                job,
            ),
        )
        self._trials["embedding"]["test"] = json.loads((artifact.path / curve_stage.FILE).read_text("utf-8"))


def _mined_for_recipe(config: EmbeddingConfig) -> str:
    """What the run calls hard negatives before a recipe has taken them."""
    return f"{_MINED} (recipe: {config.hard_negatives})"
