"""A whole run with pairs that a user brings: what trains, what does not, and what a change of the file rebuilds."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file

import raglift
from raglift import pipeline
from raglift.artifacts import MANIFEST
from raglift.config import config_from_dict
from raglift.corpus.stage import Corpus
from raglift.errors import UserError
from raglift.exchange.run import synthetic_questions
from raglift.progress import Progress
from raglift.serve.result import RunResult
from raglift.synthesis.hard_negatives import load_pairs
from raglift.training import embedding_stage
from raglift.training.pairs import Pair, passages_by_id
from tests.small_runs import small_config, write_documents, write_questions
from tests.tiny import QUESTIONS, SENTENCES

pytestmark = pytest.mark.slow

FOREIGN = [
    ("Who sweeps the pier?", "The pier is swept by the boys of the harbour school before the first boat of the day."),
    ("When is the fair?", "The fair of the valley is held on the last Sunday in May, after the snow has gone."),
    ("What is in the drawer?", "Brass keys lie in the drawer of the clerk, each with a label of lead and a number."),
    ("Where do the boats wait?", "Boats that come late wait at the outer wall until the tide turns in their favour."),
]
WRONG = "The kite builds no nest in this harbour and has not been seen there for many years."


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory, tiny_llm: Path, tiny_embedding: Path) -> dict[str, Any]:
    folder = tmp_path_factory.mktemp("documents")
    write_documents(folder)
    write_questions(folder, QUESTIONS)
    found = small_config(folder, tiny_llm, tiny_embedding)
    found["embedding"] |= {"epochs": 2, "learning_rate": 1e-3, "evaluations": 1}
    found["llm"] |= {"strategies": []}
    found["evaluation"] |= {"max_answers": 1}
    found["runtime"] |= {"trackers": []}
    return found | {"run": "pairs"}


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the runs share what comes before the training."""
    return tmp_path_factory.mktemp("workspace")


@pytest.fixture
def trained(monkeypatch: pytest.MonkeyPatch) -> list[list[Pair]]:
    """What each training that is done learns from; the last state that is scored is the best."""
    build, seen, rising = embedding_stage.build, [], count()

    def spy(settings: Any, rows: list[Pair], dev: Any, corpus: Corpus, *more: Any) -> None:
        nonlocal rising
        rising = count()
        seen.append(list(rows))
        assert passages_by_id(rows).keys() <= {*corpus.text_of, *corpus.beside}, "what repeats what is known of all"
        build(settings, rows, dev, corpus, *more)

    monkeypatch.setattr(embedding_stage, "build", spy)
    monkeypatch.setattr(embedding_stage.DevScore, "__call__", lambda *_: float(next(rising)))
    return seen


Run = Callable[..., RunResult]


@pytest.fixture
def run(config: dict[str, Any], workspace: Path) -> Run:
    """Runs with other settings of the embedding model."""

    def go(to: Path = workspace, **settings: Any) -> RunResult:
        given = {name: str(value) if isinstance(value, Path) else value for name, value in settings.items()}
        return raglift.run(config | {"workspace": str(to), "embedding": config["embedding"] | given}, quiet=True)

    return go


def lines(path: Path, *rows: tuple[Any, ...]) -> Path:
    keys = ("query", "passage", "negatives")
    path.write_text("".join(json.dumps(dict(zip(keys, row, strict=False))) + "\n" for row in rows), "utf-8")
    return path


def dataset(path: Path, *rows: tuple[str, str]) -> Path:
    """As LlamaIndex's `save_json` writes it."""
    value = {
        "queries": {f"q{n}": query for n, (query, _) in enumerate(rows)},
        "corpus": {f"n{n}": passage for n, (_, passage) in enumerate(rows)},
        "relevant_docs": {f"q{n}": [f"n{n}"] for n in range(len(rows))},
        "mode": "text",
    }
    path.write_text(json.dumps(value), "utf-8")
    return path


def weights(result: RunResult) -> dict[str, Any]:
    return load_file(result.artifact("embedding").path / "model" / "model.safetensors")


def counts(result: RunResult) -> dict[str, int]:
    return {row["reason"]: row["count"] for row in result.report["funnel"]}


def written(result: RunResult) -> set[str]:
    return {question.question for question in synthetic_questions(result) if question.split == "train"}


def test_the_pairs_train_beside_the_questions_or_in_their_place(
    run: Run, trained: list[list[Pair]], tmp_path: Path
) -> None:
    file = lines(tmp_path / "pairs.jsonl", *FOREIGN)
    plain = run()
    key, without = plain.artifact("embedding").key, weights(plain)
    assert "pairs" not in [stage["name"] for stage in plain.report["stages"]]
    both = run(pairs=file)
    names = [stage["name"] for stage in both.report["stages"]]
    assert names[names.index("synthesis") : names.index("audit") + 1] == ["synthesis", "pairs", "audit"]
    assert counts(both)["given pairs that train"] == len(FOREIGN)
    first, second = trained
    assert [(pair.query, pair.passage) for pair in second] == [
        *((pair.query, pair.passage) for pair in first),
        *FOREIGN,
    ]
    assert {pair.query for pair in first} == written(plain)
    with_pairs = weights(both)
    assert any(not value.equal(with_pairs[name]) for name, value in without.items())

    alone = run(pairs=file, train_on="pairs")
    assert [(pair.query, pair.passage) for pair in trained[2]] == FOREIGN
    assert counts(alone)["pairs of synthetic questions, on which the embedding model does not train"] == len(first)
    assert "pairs for the embedding model" not in counts(alone)
    card = json.loads((alone.artifact("embedding").path / "card.json").read_text("utf-8"))
    assert card["data"]["facts"]["given pairs that train"] == len(FOREIGN)
    assert {row["train"] for row in card["data"]["questions"]} == {0}
    assert str(tmp_path) not in json.dumps(card)
    chosen = {candidate["name"] for candidate in alone.report["training"]["embedding"]["candidates"]}
    assert "base" in chosen, "the development split chooses as ever"
    assert all(stage["cached"] for stage in alone.report["stages"] if stage["name"] in ("synthesis", "training_sets"))

    nearly = QUESTIONS[0][0].replace("the names", "all the names")
    asked = run(pairs=lines(tmp_path / "asked.jsonl", *FOREIGN, (nearly, FOREIGN[0][1])))
    audited = json.loads((asked.artifact("audit").path / "audit.json").read_text("utf-8"))
    assert nearly in {row["training"] for row in audited}
    left_out = run(pairs=file, train_on="synthetic")
    assert left_out.artifact("embedding").key == key, "the training that it is without pairs"
    assert len(trained) == 4


def test_what_the_file_says_is_the_key_and_not_where_it_lies(
    run: Run, trained: list[list[Pair]], tmp_path: Path
) -> None:
    one = run(pairs=lines(tmp_path / "one.jsonl", *FOREIGN), train_on="pairs").artifact("embedding")
    (tmp_path / "elsewhere").mkdir()
    moved = dataset(tmp_path / "elsewhere" / "two.json", *FOREIGN)
    assert run(pairs=moved, train_on="pairs").artifact("embedding").key == one.key
    changed = [*FOREIGN[:3], (FOREIGN[3][0], f"{FOREIGN[3][1]} No other does.")]
    other = run(pairs=lines(tmp_path / "one.jsonl", *changed), train_on="pairs")
    assert other.artifact("embedding").key != one.key
    stages = {stage["name"]: stage["cached"] for stage in other.report["stages"]}
    assert not stages["pairs"]
    assert stages["synthesis"]
    trained.clear()
    again = run(tmp_path / "another", pairs=moved, train_on="pairs").artifact("embedding")
    assert again.key == one.key
    assert len(trained) == 1, "it was made anew"
    manifests = [json.loads((each.path / MANIFEST).read_text("utf-8"))["files"] for each in (one, again)]
    models = [{name: digest for name, digest in files.items() if name.startswith("model/")} for files in manifests]
    assert models[0] == models[1] != {}


def test_what_is_held_out_does_not_train_and_the_run_says_so(
    config: dict[str, Any], run: Run, workspace: Path, trained: list[list[Pair]], tmp_path: Path
) -> None:
    split = {document.source: document.split for document in run().corpus.documents}
    about = {
        name: next(SENTENCES[n] for n in range(8) if split[f"{n}.md"] == name) for name in ("train", "dev", "test")
    }
    rows = [("Who is it about?", about["train"]), ("Who?", about["dev"]), ("And who?", about["test"])]
    asked = [
        (question.upper(), f"Nobody knows of it at all, in the year {n}.") for n, (question, _) in enumerate(QUESTIONS)
    ]
    file = lines(tmp_path / "pairs.jsonl", *rows, *asked)
    given = config | {
        "workspace": str(workspace),
        "embedding": config["embedding"] | {"pairs": str(file), "train_on": "pairs"},
    }
    said = io.StringIO()
    with pytest.raises(UserError, match="There is nothing to train"):
        # Of the pairs one is left where the first is not about its document.
        run(pairs=lines(tmp_path / "none.jsonl", *rows[1:], *asked), train_on="pairs")
    trained.clear()
    result = pipeline.run(config_from_dict(given), Progress(stream=said))
    assert [pair.query for pair in load_pairs(result.artifact("pairs").path)] == ["Who is it about?"]
    assert f"{file}: 1 pairs train, and these do not: " in said.getvalue()
    assert f"{len(asked)} (their query is a development or test question)" in said.getvalue()
    assert "2 (their passage repeats a development or test document)" in said.getvalue()


def test_negatives_of_a_pair_count_beside_those_that_are_mined(
    run: Run, trained: list[list[Pair]], tmp_path: Path
) -> None:
    file = lines(tmp_path / "pairs.jsonl", *((*row, [WRONG]) for row in FOREIGN))
    run(pairs=file, train_on="pairs")
    assert [pair.negatives for pair in trained[-1]] == [(WRONG,)] * len(FOREIGN)
    mined = run(pairs=file, hard_negatives=2, hard_negative_ceiling=1.0)
    found = {pair.query: pair for pair in trained[-1]}
    assert all(found[query].negatives == (WRONG,) for query, _ in FOREIGN)
    assert any(pair.negatives and not pair.given for pair in found.values())
    assert counts(mined)["hard negatives"] == sum(len(pair.negatives) for pair in found.values())
    taught = run(pairs=file, hard_negatives=1, hard_negative_ceiling=1.0, train_on="pairs", objective="listwise")
    assert [len(pair.scores) for pair in trained[-1]] == [2] * len(FOREIGN)
    assert counts(taught)["questions scored by the teacher"] == len(FOREIGN)


def test_a_recipe_and_a_learning_curve_count_the_pairs(run: Run, trained: list[list[Pair]], tmp_path: Path) -> None:
    file = lines(tmp_path / "pairs.jsonl", *FOREIGN)
    result = run(pairs=file, train_on="pairs", recipe=["epochs"], learning_curve=[0.5])
    training = result.report["training"]["embedding"]
    assert training["recipe"]["pairs"] == len(FOREIGN)
    assert [row["examples"] for row in training["curve"]] == [2, 4]
    assert {pair.query for rows in trained for pair in rows} <= {query for query, _ in FOREIGN}


def test_pairs_that_lie_among_the_documents_are_none(config: dict[str, Any], run: Run, tmp_path: Path) -> None:
    folder = Path(config["data"]["documents"])
    without = raglift.estimate(config)
    file = lines(folder / "pairs.jsonl", *FOREIGN)
    try:
        assert len(run(tmp_path / "indexes", pairs=file, strategies=[]).corpus.documents) == 8
        assert raglift.estimate(config | {"embedding": config["embedding"] | {"pairs": str(file)}}) == without
        assert raglift.estimate(config) != without, "else it is a document"
    finally:
        file.unlink()


def test_a_file_that_cannot_be_read_is_said_before_anything_is_written(run: Run, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"none\.jsonl cannot be read"):
        run(tmp_path / "indexes", pairs=tmp_path / "none.jsonl")
    with pytest.raises(UserError, match=r"embedding\.train_on is 'pairs'"):
        run(tmp_path / "indexes", train_on="pairs")
    assert not (tmp_path / "indexes").exists()
