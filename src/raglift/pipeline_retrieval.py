"""The stages between the vectors and the arms: BM25, and how its rankings and the dense ones become one."""

from __future__ import annotations

from collections.abc import Sequence

from raglift.artifacts import Artifact
from raglift.index import bm25, fusion_stage, transform_stage
from raglift.index.dense import Dense
from raglift.index.first_stage import FirstStage
from raglift.index.fusing import candidates, shown
from raglift.index.fusions._base import Fusion
from raglift.index.rewording import by_generator, transform_key
from raglift.index.transforms._base import QueryTransform
from raglift.job import Job
from raglift.pipeline_data import DataStages, synthetic


class RetrievalStages(DataStages):
    """The stages that need an index and questions, and train nothing."""

    _fusions: dict[str, Fusion]
    _fusion_keys: dict[str, str]

    def _words(self, corpus: Artifact) -> None:
        """BM25 over the chunks."""
        language, chunks = self._config.retrieval.language, self._loaded.chunks

        def write(job: Job) -> None:
            bm25.build([chunk.id for chunk in chunks], [chunk.text for chunk in chunks], language, job)

        artifact = self._runner.stage("bm25", bm25.VERSION, {"language": language}, {"corpus": corpus.key}, write)
        self._bm25, self._bm25_key = bm25.Bm25.load(artifact.path), artifact.key

    def _fused(self, which: str, corpus: Artifact, questions: Artifact, index: Artifact) -> None:
        """How the rankings of the "base" or the "tuned" embedding model go together with BM25's.

        Each model has its own choice, so that neither is judged with what suits the other.
        """
        settings = self._config.retrieval
        among = candidates(settings.fusion)
        inputs = {
            "corpus": corpus.key,
            "questions": questions.key,
            "index": index.key,
            "embedding": self._models.embedding_key(which),
            "bm25": self._bm25_key,
        }

        def write(job: Job) -> None:
            fusion_stage.build(
                settings.fusion,
                {"human": self._loaded.human, "synthetic": synthetic(questions)},
                Dense.of_store(self._models.encoder(which), self._stores[which]),
                self._bm25,
                settings.depth,
                {chunk.id: chunk.document_id for chunk in self._loaded.chunks},
                job,
            )

        artifact = self._runner.stage(
            f"fusion_{which}",
            fusion_stage.VERSION,
            {"candidates": [[shown(*each), each[1].version] for each in among], "depth": settings.depth},
            inputs,
            write,
        )
        self._fusions[which] = fusion_stage.load(artifact.path)
        self._fusion_keys[which] = artifact.key

    def _reworded(self, corpus: Artifact, questions: Artifact, index: Artifact) -> None:
        """Whether the query transforms pay for the tuned embedding model."""
        settings = self._config.retrieval
        if not settings.transforms:
            return

        def texts(transform: QueryTransform, asked: Sequence[str]) -> list[list[str]]:
            return by_generator(self._models.generator("base"), self._config.seed)(transform, asked)

        def write(job: Job) -> None:
            dense = Dense.of_store(self._models.encoder("tuned"), self._stores["tuned"])
            transform_stage.build(
                self._models.transforms,
                {"human": self._loaded.human, "synthetic": synthetic(questions)},
                FirstStage(dense, self._bm25, settings.depth, self._fusions["tuned"]),
                texts,
                {chunk.id: chunk.document_id for chunk in self._loaded.chunks},
                job,
            )

        self._runner.stage(
            "transforms",
            transform_stage.VERSION,
            {"transforms": [transform_key(spec) for spec in settings.transforms], "seed": self._config.seed},
            {
                "corpus": corpus.key,
                "questions": questions.key,
                "index": index.key,
                "fusion": self._fusion_keys["tuned"],
                "llm": self._models.llm_key("base"),
            },
            write,
        )
