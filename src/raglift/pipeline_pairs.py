"""The stages of the embedding model's pairs: those that a user brings, hard negatives, and a teacher's scores."""

from __future__ import annotations

from functools import cached_property

from llama_index.core.llms import LLM

from raglift.artifacts import Artifact
from raglift.config import Config, EmbeddingConfig, PluginSpec
from raglift.corpus import audit
from raglift.corpus.stage import Corpus
from raglift.errors import UserError
from raglift.exchange.pairs import read_pairs
from raglift.pipeline_data import DataStages, synthetic
from raglift.progress import Progress
from raglift.records import QAPair
from raglift.synthesis import given_pairs, hard_negatives, teacher_scores, training_sets
from raglift.training.pairs import Pair, passages_by_id


class PairStages(DataStages):
    """What the embedding model learns from beside the documents' own questions, and what is found for its pairs."""

    _given_artifact: Artifact | None = None

    def __init__(self, config: Config, display: Progress, writer: LLM | None) -> None:
        super().__init__(config, display, writer)
        named = config.embedding.learned_pairs
        # Before a stage begins, so that a mistake in the file is said at once.
        self._read_pairs = read_pairs(named, display) if named is not None else None

    def _given(self, corpus: Artifact, questions: Artifact) -> None:
        """Those of the user's pairs that may train; no stage where there are none."""
        given = self._read_pairs
        if given is None:
            return
        near_duplicate = self._config.corpus.near_duplicate
        artifact = self._runner.stage(
            "pairs",
            given_pairs.VERSION,
            {"near_duplicate": near_duplicate},
            {"corpus": corpus.key, "questions": questions.key, "pairs": given.key},
            lambda job: given_pairs.build(given, self._loaded, synthetic(questions), near_duplicate, job),
        )
        self._given_artifact = artifact
        kept, left_out = given_pairs.said_of(artifact.path)
        if left_out:
            name = self._config.embedding.pairs
            self._display.warn(f"{name}: {kept} pairs train, and these do not: {', '.join(left_out)}.")
        if not kept and self._config.embedding.train_on == "pairs":
            raise UserError(
                "There is nothing to train the embedding model on.",
                f"None of the pairs of {self._config.embedding.pairs} may train: {', '.join(left_out)}.",
                "Bring pairs about other documents, raise corpus.train, or set embedding.train_on to both.",
            )

    def _given_pairs(self) -> list[Pair]:
        return hard_negatives.load_pairs(self._given_artifact.path) if self._given_artifact else []

    @cached_property
    def _corpus_of_pairs(self) -> Corpus:
        """The corpus, which knows which passages of the user's pairs repeat which chunks."""
        given = passages_by_id(self._given_pairs())
        return Corpus(self._loaded.path, given) if given else self._loaded

    def _learned_questions(self, questions: Artifact) -> list[QAPair]:
        """The synthetic questions, of the train split only where they are to train the embedding model."""
        without = self._config.embedding.train_on == "pairs"
        return [question for question in synthetic(questions) if not (without and question.split == "train")]

    def _pairs_to_learn(self, questions: Artifact) -> list[Pair]:
        """All pairs, before anything is mined for them."""
        made = training_sets.embedding_pairs(self._learned_questions(questions), self._loaded)
        return [*made, *self._given_pairs()]

    def _pair_keys(self) -> dict[str, str]:
        """What says which pairs there are; nothing where they are those of the synthetic questions."""
        if self._given_artifact is None:
            return {}
        return {"pairs": self._given_artifact.key, "train_on": self._config.embedding.train_on}

    def _audit(self, corpus: Artifact, questions: Artifact) -> None:
        given = [
            QAPair(pair.chunk_id, pair.query, (), (), "given pair", "train", "human") for pair in self._given_pairs()
        ]
        asked = [*synthetic(questions), *given, *self._loaded.human]
        inputs = {"corpus": corpus.key, "questions": questions.key, "embedding": self._revisions["embedding"]}
        if self._given_artifact is not None:
            inputs["pairs"] = self._given_artifact.key
        artifact = self._runner.stage(
            "audit",
            audit.VERSION,
            {},
            inputs,
            lambda job: audit.build(asked, self._models.encoder("base"), job),
        )
        audit.check_questions(audit.read_questions(artifact.path, self._config.corpus), self._display.say)

    def _hard_negatives(
        self, embedding: EmbeddingConfig, corpus: Artifact, questions: Artifact, index: Artifact, label: str
    ) -> Artifact:
        return self._runner.stage(
            "hard_negatives",
            hard_negatives.VERSION,
            {"count": embedding.hard_negatives, "ceiling": embedding.hard_negative_ceiling},
            {"corpus": corpus.key, "questions": questions.key, "index": index.key, **self._pair_keys()},
            lambda job: hard_negatives.build(
                embedding,
                self._corpus_of_pairs,
                self._learned_questions(questions),
                self._models.encoder("base"),
                self._stores["base"],
                job,
                self._given_pairs(),
            ),
            label,
        )

    def _teacher_scores(self, spec: PluginSpec, corpus: Artifact, index: Artifact, mined: Artifact) -> Artifact:
        return self._runner.stage(
            "teacher_scores",
            teacher_scores.VERSION,
            {"teacher": teacher_scores.settings_of(spec)},
            {"corpus": corpus.key, "index": index.key, "hard negatives": mined.key, **self._words_key()},
            lambda job: teacher_scores.build(
                spec,
                hard_negatives.load_pairs(mined.path),
                self._loaded,
                self._searchable(),
                self._runtime,
                job,
            ),
        )
