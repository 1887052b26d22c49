"""A run on disk, and its arms as LlamaIndex objects."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llama_index.core import VectorStoreIndex
from llama_index.core.llms import LLM

from raglift.errors import UserError
from raglift.evaluation.arms import RERANKED, Arm, arm_named
from raglift.evaluation.retention import MARGIN
from raglift.index import fusion_stage
from raglift.index.backend import IN_TORCH, Choice, read_choice
from raglift.index.bm25 import Bm25
from raglift.index.dense import Dense
from raglift.index.first_stage import FirstStage
from raglift.index.fusions._base import Fusion
from raglift.index.rerankers import LiftReranker
from raglift.index.retriever import LiftRetriever
from raglift.index.rewording import by_generator
from raglift.index.store import FaissStore
from raglift.models.embedding import LiftEmbedding
from raglift.models.llm import LiftLLM
from raglift.models.query_memory import QueryMemory
from raglift.plugins import nearest
from raglift.progress import Progress
from raglift.serve.current import Current, read_current, read_facts
from raglift.serve.engine import LiftQueryEngine
from raglift.serve.models import Models
from raglift.serve.run_files import RunFiles
from raglift.serve.state import read_state, run_folder
from raglift.workspace import is_held

if TYPE_CHECKING:
    from raglift.serve.forgetting import Forgetting
    from raglift.serve.support import Support
    from raglift.serve.update import Account


def read_status(run: str | Path, workspace: str | Path) -> dict[str, Any]:
    """What `raglift status` prints: the run's state and its stages."""
    folder = run_folder(run, workspace)
    state = read_state(folder)
    if state["state"] == "running" and not is_held(folder.parent.parent):
        # The process was killed before it could say so.
        state["state"] = "interrupted"
        for stage in state["stages"]:
            stage["state"] = "interrupted" if stage["state"] == "running" else stage["state"]
    return {"run": state["run"], "state": state["state"], "stages": state["stages"], "folder": str(folder)}


def open_run(run: str | Path, workspace: str | Path = "indexes") -> RunResult:
    """A finished run, by its name or folder, whose models are those that it was made with.

    Raises:
        UserError: There is no such run, it is not finished, or a base model is missing or another one by now.
    """
    result = read_run(run, workspace)
    result.check_models()
    return result


def read_run(run: str | Path, workspace: str | Path = "indexes") -> RunResult:
    """A finished run whose report is to be read: that needs no model, so none is looked for.

    Raises:
        UserError: There is no such run, or it is not finished.
    """
    folder = run_folder(run, workspace)
    state = read_state(folder)
    if state["state"] != "done":
        raise UserError(
            f"The run {state['run']!r} is not finished.",
            f"Its state is {state['state']!r}.",
            "Run the same `raglift run` command again: it goes on from where it stopped.",
        )
    return RunResult(folder)


@dataclass(frozen=True)
class RunResult(RunFiles):
    """A finished run. Everything that its methods return is a LlamaIndex object; models load when first used.

    Example:
        >>> run = raglift.open_run("quickstart")
        >>> run.query_engine("tuned_both").query("How do I stop a loop early?")
    """

    @cached_property
    def models(self) -> Models:
        """The run's models, base and tuned."""
        self.check_models()
        models = Models(self.config, self.runtime)
        for outcome in self.outcomes:
            models.add(outcome)
        return models

    @cached_property
    def _stores(self) -> dict[str, FaissStore]:
        return {}

    def store(self, which: str) -> FaissStore:
        """The vector store of the "base" or the "tuned" embedding model that the run was scored with."""
        if which not in self._stores:
            self._stores[which] = self.open_store(which)
        return self._stores[which]

    def open_store(self, which: str) -> FaissStore:
        """`store`, opened once more: a change of it changes no other."""
        return FaissStore.open(self.artifact(self._store_stage(which)).path)

    def backend(self, which: str) -> Choice:
        """What encodes the passages of the "base" or the "tuned" index, and what it was compared with.

        Raises:
            UserError: The index is missing, or a file of it is damaged.
        """
        if self.config.index.backend == IN_TORCH.backend:
            return IN_TORCH  # without checking the index's files
        return read_choice(self.artifact(f"index_{which}").path)

    def _store_stage(self, which: str) -> str:
        return "nudge" if which == "tuned" and self.config.index.nudge else f"index_{which}"

    @property
    def questions_stage(self) -> str:
        """The stage whose questions the run goes on with."""
        return "synthesis" if self.config.synthesis.review is None else "review"

    @property
    def served_keys(self) -> dict[str, str]:
        """Stage -> key of the artifacts that an update puts others in the place of."""
        replaced = {"corpus", "bm25", *map(self._store_stage, ("base", "tuned"))}
        return {entry["name"]: entry["key"] for entry in self.state["stages"] if entry["name"] in replaced}

    @cached_property
    def _current(self) -> Current | None:
        """What the last update left; None: what the run was scored with is what it serves."""
        return read_current(self.folder, self.served_keys)

    def _served_store(self, which: str) -> FaissStore:
        return self.store(which) if self._current is None else self._current.stores[which]

    def served(self) -> dict[str, Any]:
        """What the run serves: `run`, `version` (None: what it was scored with), `documents` and `chunks` (how many),
        and of an update when it was `written` and its `account`."""
        found = read_facts(self.folder, self.served_keys)
        if found is None:
            counts = {"documents": len(self.corpus.documents), "chunks": len(self.corpus.chunks)}
            return {"run": self.state["run"], "version": None, **counts, "written": None, "account": None}
        version, facts = found
        told = {"written": facts["written"], "account": facts["account"]}
        return {"run": self.state["run"], "version": version, **facts["counts"], **told}

    def update(self, allow_empty: bool = False, display: Progress | None = None) -> Account:
        """Read the run's documents again, and bring what it serves up to what changed; see `raglift.serve.update`.

        What this object gave before goes on over the documents as they were.

        Args:
            allow_empty: Whether an index may be left without a document.

        Raises:
            UserError: The documents' folder is not there, all documents are gone, or another process is using the
                workspace.

        Example:
            >>> raglift.open_run("quickstart").update().documents.changed
            2
        """
        from raglift.serve.update import update

        account = update(self, allow_empty, display)
        self.__dict__.pop("_current", None)
        return account

    def judge(self, llm: LLM | str, **settings: Any) -> dict[str, Any]:
        """What a language model says of the arms' answers, once it is tested; see `raglift.serve.judge.judge_with`."""
        from raglift.serve.judge import judge_with

        return judge_with(self, llm, **settings)

    def slices(self, **wanted: Any) -> dict[str, Any]:
        """Where tuning hurt, the worst first; see `raglift.serve.slices.slices_of`."""
        from raglift.serve.slices import slices_of

        return slices_of(self, **wanted)

    @cached_property
    def bm25(self) -> Bm25:
        """BM25 over the chunks that the run was scored with."""
        return Bm25.load(self.artifact("bm25").path)

    def fusion(self, which: str) -> Fusion:
        """How rankings of the "base" or the "tuned" embedding model go together with BM25's."""
        return fusion_stage.load(self.artifact(f"fusion_{which}").path)

    def _arm(self, name: str | None) -> Arm:
        name = name or self.chosen_arm
        if name not in self.arms:
            raise UserError(f"The run has no arm called {name!r}.", nearest(name, self.arms))
        return arm_named(name, self.all_arms)

    def embedding(self, arm: str | None = None, adapter: str | Path | None = None) -> LiftEmbedding:
        """The arm's embedding model, the chosen arm's by default.

        Args:
            adapter: A folder with a bottleneck adapter for it, such as another run's `embedding(...).source`; the
                weights around it are shared with every other such object.

        Raises:
            UserError: The arm has none, or the adapter does not fit it.
        """
        chosen = self._arm(arm)
        if chosen.embedding == "none":
            raise UserError(f"The arm {chosen.name!r} has no embedding model.")
        return self.models.llama_embedding(chosen.embedding, Path(adapter) if adapter is not None else None)

    def llm(self, arm: str | None = None, adapter: str | Path | None = None) -> LiftLLM:
        """The arm's language model, the chosen arm's by default.

        It gives back all that the model writes, a quote before the answer too; the query engine reads the answer.

        Args:
            adapter: As for `embedding`.

        Raises:
            UserError: The arm has none, or the adapter does not fit it.
        """
        chosen = self._arm(arm)
        if chosen.llm == "none":
            raise UserError(f"The arm {chosen.name!r} has no language model.", "It only ranks passages.")
        return self.models.llama_llm(chosen.llm, Path(adapter) if adapter is not None else None)

    def index(self, arm: str | None = None) -> VectorStoreIndex:
        """The arm's vector index."""
        chosen = self._arm(arm)
        store = self._served_store(chosen.embedding)
        return VectorStoreIndex.from_vector_store(store, embed_model=self.embedding(chosen.name))

    def retriever(self, arm: str | None = None, top_k: int | None = None) -> LiftRetriever:
        """The arm's retriever; `top_k` passages, as many as the language model reads by default.

        Raises:
            UserError: The arm does not retrieve.
        """
        chosen = self._arm(arm)
        top_k = top_k or self.config.retrieval.top_k
        if chosen.retrieval == "none":
            raise UserError(f"The arm {chosen.name!r} does not retrieve.", "It answers from memory.")
        nodes = self._served_store("base" if chosen.embedding == "none" else chosen.embedding).by_id()
        found = LiftRetriever(self._first_stage(chosen), nodes, top_k)
        if chosen.transform:
            write = by_generator(self.models.generator("base"), self.config.seed)
            return found.with_transform(self.models.transforms[chosen.transform], write)
        if self.config.rerank is None or not chosen.reranked or self.models.reranker() is None:
            return found
        return found.with_reranker(self.reranker(chosen.name, top_k), self.config.rerank.depth)

    def support(self, checker: str = "trained", display: Progress | None = None) -> Support:
        """How much of what the arms answered their passages support; see `raglift.serve.support.check_support`.

        Raises:
            UserError: The run answered no question, or its documents give too few claims to learn from.
        """
        from raglift.serve.support import check_support

        return check_support(self, checker, display)

    def forgetting(
        self, data: str | Path | None = None, margin: float = MARGIN, display: Progress | None = None
    ) -> Forgetting:
        """What the tuned models have forgotten of what their bases could do; see
        `raglift.serve.forgetting.measure_forgetting`."""
        from raglift.serve.forgetting import measure_forgetting

        return measure_forgetting(self, data, margin, display)

    def reranker(self, arm: str | None = None, top_k: int | None = None) -> LiftReranker:
        """The arm's reranker, which keeps `top_k` passages, as many as the language model reads by default.

        Raises:
            UserError: The arm has none, or nothing beat the first stage's own order.
        """
        chosen = self._arm(arm or (RERANKED if self.config.rerank is not None else None))
        found = self.models.reranker() if chosen.reranked else None
        if found is None:
            raise UserError(
                f"The arm {chosen.name!r} has no reranker.",
                "No order beat the first stage's own on the development split."
                if chosen.reranked
                else "Its passages stay in the order in which they are found.",
                "A section `rerank` in the config trains one; the report says what was tried.",
            )
        return LiftReranker(found, top_k or self.config.retrieval.top_k, str(self.models.path("rerank", "tuned")))

    def _first_stage(self, chosen: Arm) -> FirstStage:
        """What finds the arm's passages, before they are put in another order."""
        which, dense = chosen.embedding, None
        if which != "none":
            dense = Dense.of_store(QueryMemory(self.models.encoder(which)), self._served_store(which))
        words = self.bm25 if self._current is None else self._current.bm25
        bm25 = None if chosen.retrieval == "dense" else words
        found = FirstStage(dense, bm25, self.config.retrieval.depth)
        return replace(found, fusion=self.fusion(which)) if chosen.retrieval == "hybrid" else found

    def query_engine(self, arm: str | None = None) -> LiftQueryEngine:
        """The arm as a query engine, the chosen arm by default.

        Raises:
            UserError: The arm does not answer.
        """
        chosen = self._arm(arm)
        retriever = None if chosen.retrieval == "none" else self.retriever(chosen.name)
        return LiftQueryEngine(retriever=retriever, llm=self.llm(chosen.name), prompt=self.models.prompt)
