"""Every objective of the embedding model trains with every strategy that says what changes, and looked-up vectors teach
what the whole model does."""

from __future__ import annotations

import copy
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from llama_index.core.base.embeddings.base import BaseEmbedding
from sentence_transformers import SentenceTransformer
from torch import nn

import raglift
from raglift import plugins
from raglift.config import config_from_dict
from raglift.errors import UserError
from raglift.models.encoder import Encoder, load_encoder
from raglift.models.find import find_model
from raglift.models.vectors import Vectors
from raglift.strategies.embedding_head import EmbeddingHead
from raglift.training import embedding_stage
from raglift.training.outcome import read_outcome
from raglift.training.pairs import PairBatches
from tests import tasks
from tests.fits import specs_named
from tests.tasks import RUNTIME
from tests.test_contracts import Rising
from tests.tiny import QUESTIONS, SENTENCES, build_embedding
from tests.training.test_objectives_learn import mined

NAMES = [name for name in plugins.names("objective") if plugins.load("objective", name).target == "embedding"]
OBJECTIVES: dict[str, dict[str, Any]] = {
    **{name: {name: {}} for name in NAMES},
    "matryoshka": {"matryoshka": {"dims": [32, 16]}},
    "cached_multiple_negatives": {"cached_multiple_negatives": {"mini_batch_size": 3}},
    "gist cached": {"gist": {"mini_batch_size": 3}},
    "gist with a guide": {"gist": {"guide": "the guide"}},
    "gist with a guide, cached": {"gist": {"guide": "the guide", "mini_batch_size": 3}},
    "gist cut": {"matryoshka": {"dims": [32, 16], "objective": {"gist": {"guide": "the guide"}}}},
    "cached cut": {"matryoshka": {"dims": [32, 16], "objective": "cached_multiple_negatives"}},
    "distilled cut": {"matryoshka": {"dims": [32, 16], "objective": "listwise"}},
}
CHANGES = [
    name
    for name in plugins.names("strategy")
    if (found := plugins.load("strategy", name)).axis == "parameters" and "embedding" in found.targets
]


@pytest.fixture(scope="module")
def guide(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An embedding model with prompts, other than the one that is trained."""
    folder = tmp_path_factory.mktemp("guide")
    return build_embedding(folder, seed=5, prompts={"query": "where: ", "document": "the: "})


def given(objective: str, guide: Path) -> dict[str, Any]:
    def filled(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: filled(inner) for key, inner in value.items()}
        return str(guide) if value == "the guide" else value

    found: dict[str, Any] = filled(OBJECTIVES[objective])
    return found


@pytest.mark.parametrize("strategy", CHANGES)
@pytest.mark.parametrize("objective", OBJECTIVES)
def test_the_config_is_read_and_trains(
    objective: str, strategy: str, guide: Path, tiny_embedding: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    section = {
        "strategies": specs_named((strategy,)),
        "objective": given(objective, guide),
        "batch_size": 4,
        "epochs": 1,
        "evaluations": 1,
        "hard_negatives": 2,
    }
    config = config_from_dict({"data": {"documents": "d"}, "embedding": section}).embedding
    monkeypatch.setattr(embedding_stage, "DevScore", Rising)
    corpus: Any = SimpleNamespace(similar={})
    (tmp_path / "work").mkdir()
    job = tasks.job(tmp_path, 3)
    embedding_stage.build(config, mined(), [], corpus, find_model(str(tiny_embedding)), RUNTIME, job)
    outcome = read_outcome(tmp_path, "key")
    assert outcome.record.chosen == "step 2"
    base = tasks.outputs("embedding", tiny_embedding, load_encoder(tiny_embedding, RUNTIME))
    tuned = tasks.outputs("embedding", tiny_embedding, load_encoder(tiny_embedding, RUNTIME, outcome.tuned))
    assert bool(tuned.isfinite().all())
    assert not torch.equal(tuned, base)


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_looked_up_vectors_have_the_whole_model_s_loss_and_gradients(
    objective: str, guide: Path, tiny_embedding: Path
) -> None:
    ((name, settings),) = given(objective, guide).items()
    made = plugins.load("objective", name)(**settings)
    strategy, found = EmbeddingHead(sides="both"), []
    for short in (False, True):
        model = load_encoder(tiny_embedding, RUNTIME)
        if short:
            model = strategy.shortened(model, "embedding", RUNTIME).model  # type: ignore[assignment]
        loss = made.build(model)
        headed: Any = strategy.prepare(model, "embedding").eval()
        nn.init.normal_(headed[-1].change.weight, std=0.1, generator=torch.Generator().manual_seed(3))
        batch = PairBatches(mined(), {}, headed, 4, 1, made.compares_batch()).batch(0, 0)
        value = loss(headed, batch)
        value.backward()
        found.append((float(value.detach()), headed[-1].change.weight.grad))
    assert found[1][0] == pytest.approx(found[0][0], rel=1e-4)
    torch.testing.assert_close(found[1][1], found[0][1], rtol=1e-3, atol=1e-4)
    assert bool(found[0][1].any())


def test_a_copy_of_looked_up_vectors_asks_the_same_embedding(tiny_embedding: Path) -> None:
    encoder = Encoder(load_encoder(tiny_embedding, RUNTIME), RUNTIME)
    model = SentenceTransformer(modules=[Vectors(encoder.encode, encoder.dimension)], device="cpu")
    first: Any = model[0]
    known = model.encode_query(["Where?"])
    other: Any = copy.deepcopy(model)
    assert other[0]._encode.__self__ is first._encode.__self__ is encoder
    other.encode_query(["When?"])
    assert len(first._table) == 1
    assert (other.encode_query(["Where?"]) == known).all()


class Uncopied(BaseEmbedding):
    """Stands for a client that cannot be copied, as one that holds a lock or a connection."""

    def __deepcopy__(self, memo: Any) -> Any:
        raise TypeError("a client cannot be copied")

    def _get_text_embedding(self, text: str) -> list[float]:
        generator = torch.Generator().manual_seed(len(text))
        return torch.randn(8, generator=generator).tolist()  # type: ignore[no-any-return]

    _get_query_embedding = _get_text_embedding

    async def _aget_query_embedding(self, query: str) -> list[float]:
        return self._get_text_embedding(query)


PAIRS = [(question, SENTENCES[row]) for row, (question, _) in enumerate(QUESTIONS)]


def test_a_head_above_any_embedding_learns_with_a_guide(guide: Path) -> None:
    for objective in ("gist", {"gist": {"guide": str(guide)}}):
        settings: dict[str, Any] = {"objective": objective, "epochs": 1, "quiet": True}
        assert "base" in raglift.tune_head(Uncopied(), PAIRS[:6], PAIRS[6:], **settings).dev


@pytest.mark.parametrize(
    ("objective", "why"),
    [
        ("listwise", "'listwise' learns a teacher's scores of hard negatives, and pairs have none"),
        ({"matryoshka": {"objective": "margin_mse", "dims": [8, 4]}}, "'matryoshka' learns a teacher's scores"),
        ("answer_only", "cannot train the embedding model"),
        ({"gist": {"margn": 1}}, "did you mean 'margin'"),
    ],
)
def test_a_head_from_pairs_refuses_what_pairs_do_not_hold(objective: Any, why: str) -> None:
    with pytest.raises(UserError, match="cannot train a head on pairs") as caught:
        raglift.tune_head(Uncopied(), PAIRS[:6], PAIRS[6:], objective=objective, quiet=True)
    assert why in caught.value.why
