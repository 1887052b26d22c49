"""Every prompt is answered once a model, whatever arm asks."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path

import pytest

from raglift import plugins
from raglift.evaluation.answering import KEPT_RANKS, Limits, Pipelines, answer, rank, to_answer
from raglift.evaluation.arms import ARMS, arm_named, dense_arm
from raglift.index.bm25 import Bm25
from raglift.index.encoding import node
from raglift.index.fusions.convex import Convex
from raglift.index.fusions.rrf import ReciprocalRank
from raglift.index.store import FaissStore
from raglift.journal import Journal
from raglift.models.encoder import Encoder, load_encoder
from raglift.models.generation import Generator, Sampling
from raglift.models.llm import load_causal_lm, load_tokenizer
from raglift.records import Answered, Chunk, Evidence, QAPair
from tests import tasks
from tests.tasks import QUIET, RUNTIME
from tests.tiny import QUESTIONS, SENTENCES, build_embedding, build_llm

CHUNKS = [Chunk(f"c{row}", f"d{row}", text, 0, len(text)) for row, text in enumerate(SENTENCES)]
QUESTION_SET = [
    QAPair(f"q{row}", asked, (said,), (Evidence(f"d{row}", f"c{row}"),), "factoid", "test", "human")
    for row, (asked, said) in enumerate(QUESTIONS[:5])
]
LIMITS = Limits(top_k=2, depth=4, max_new_tokens=5)
GROUNDED = plugins.load("prompt", "grounded")


class Counting(Generator):
    """Counts how often it is given each prompt, and ends with an error where it is told to."""

    batches = 0
    fail_at = 0

    @cached_property
    def calls(self) -> Counter[str]:
        return Counter()

    def generate(self, prompts: Sequence[str], *args: object, **kwargs: object) -> list[str]:
        self.batches += 1
        if self.batches == self.fail_at:
            raise KeyboardInterrupt
        self.calls.update(prompts)
        return super().generate(prompts, *args, **kwargs)  # type: ignore[arg-type]


Build = Callable[..., tuple[Pipelines, dict[str, Counting]]]


@pytest.fixture(scope="module")
def build(tiny_llm: Path, tiny_embedding: Path, tmp_path_factory: pytest.TempPathFactory) -> Build:
    """Pipelines of tiny models; the tuned ones have other weights unless they are said to be the base's."""
    folder = tmp_path_factory.mktemp("tuned")
    llms = {"base": tiny_llm, "tuned": build_llm(folder / "llm", seed=1)}
    encoders = {
        which: Encoder(load_encoder(path, RUNTIME), RUNTIME)
        for which, path in (("base", tiny_embedding), ("tuned", build_embedding(folder / "embedding", seed=1)))
    }
    models = {which: load_causal_lm(path, RUNTIME) for which, path in llms.items()}
    stores = {}
    for which, encoder in encoders.items():
        stores[which] = FaissStore(dimension=32)
        stores[which].add_vectors([node(chunk) for chunk in CHUNKS], encoder.encode(SENTENCES, "passage"))
    render = tasks.chat_renderer(tiny_llm)

    def make(tuned_embedding: bool = True, tuned_llm: bool = True) -> tuple[Pipelines, dict[str, Counting]]:
        generators = {which: Counting(models[which], load_tokenizer(tiny_llm)) for which in models}
        pipelines = Pipelines(
            encoder=lambda which: encoders[which if tuned_embedding else "base"],
            store=lambda which: stores[which if tuned_embedding else "base"],
            generator=lambda which: generators[which],
            llm_key={"base": "k0", "tuned": "k1" if tuned_llm else "k0"},
            bm25=Bm25([chunk.id for chunk in CHUNKS], SENTENCES),
            fusion={"base": ReciprocalRank(), "tuned": Convex()},
            text_of={chunk.id: chunk.text for chunk in CHUNKS},
            render=lambda question, passages: render(GROUNDED.messages(question, passages)),
            read=GROUNDED.read,
        )
        return pipelines, generators

    return make


def answered(
    pipelines: Pipelines, path: Path, asked: Sequence[QAPair] = QUESTION_SET, limits: Limits = LIMITS
) -> list[Answered]:
    journal = Journal(path)
    try:
        rankings = rank(QUESTION_SET, pipelines, limits, QUIET)
        return answer(QUESTION_SET, asked, rankings, pipelines, limits, journal, QUIET)
    finally:
        journal.close()


def test_an_answer_is_what_the_prompt_approach_reads(build: Build, tmp_path: Path) -> None:
    """What the model wrote stays in the journal, so that it need not write again."""
    pipelines, _ = build()
    plain = by_arm(answered(pipelines, tmp_path / "journal"))
    marked = replace(pipelines, read=lambda written: f"read: {written}")
    for journal in ("journal", "another"):
        read = by_arm(answered(marked, tmp_path / journal))
        for key, item in plain.items():
            assert read[key].answer == (None if item.answer is None else f"read: {item.answer}")


def by_arm(found: Sequence[Answered]) -> dict[tuple[str, str], Answered]:
    return {(item.arm, item.qa_id): item for item in found}


def test_rankings_are_those_of_the_arms_own_retrieval(build: Build) -> None:
    pipelines, _ = build()
    found = rank(QUESTION_SET, pipelines, LIMITS, QUIET)
    assert set(found) == {arm.name for arm in ARMS if arm.retrieval != "none"}
    texts = [question.question for question in QUESTION_SET]
    sparse = pipelines.bm25.rankings(texts, LIMITS.depth)
    for position, question in enumerate(QUESTION_SET):
        rankings = {name: by_question[question.id] for name, (by_question, _) in found.items()}
        assert rankings["bm25"] == sparse[position]
        for which in ("base", "tuned"):
            vector = pipelines.encoder(which).encode([question.question], "query")
            rows, _ = pipelines.store(which).search(vector, LIMITS.depth)
            dense = rankings[dense_arm(which, "base")]
            assert [name for name, _ in dense] == [f"c{row}" for row in rows[0]]
            assert rankings[dense_arm(which, "tuned")] == dense
            hybrid = rankings["hybrid" if which == "base" else "tuned_hybrid"]
            fusion = pipelines.fusion[which]
            assert hybrid == fusion.fuse(dense, sparse[position], LIMITS.depth)[: LIMITS.depth]
    assert all(seconds > 0 for _, seconds in found.values())
    assert found["hybrid"][1] > found["bm25"][1]
    assert found["base"][0] != found["tuned_embedding"][0]


@pytest.mark.parametrize("size", [1, 2, 3])
def test_rankings_do_not_depend_on_how_many_are_made_at_once(
    build: Build, monkeypatch: pytest.MonkeyPatch, size: int
) -> None:
    pipelines, _ = build()
    whole = rank(QUESTION_SET, pipelines, LIMITS, QUIET)
    monkeypatch.setattr("raglift.evaluation.answering._QUERIES", size)
    monkeypatch.setattr("raglift.evaluation.answering._VECTORS", size)
    parts = rank(QUESTION_SET, pipelines, LIMITS, QUIET)
    assert {name: by_question for name, (by_question, _) in parts.items()} == {
        name: by_question for name, (by_question, _) in whole.items()
    }


@pytest.mark.parametrize(("tuned_embedding", "prompts_a_question"), [(True, 3), (False, 2)])
def test_every_prompt_is_answered_once_a_model(
    build: Build, tmp_path: Path, tuned_embedding: bool, prompts_a_question: int
) -> None:
    """Two arms that read the same passages share a prompt, and the closed book is another."""
    pipelines, generators = build(tuned_embedding=tuned_embedding)
    found = by_arm(answered(pipelines, tmp_path / "journal"))
    for which, generator in generators.items():
        assert set(generator.calls.values()) == {1}
        prompts = {
            pipelines.render(question.question, found[arm.name, question.id].contexts)
            for question in QUESTION_SET
            for arm in ARMS
            if arm.llm == which
        }
        assert set(generator.calls) == prompts
        assert len(prompts) == prompts_a_question * len(QUESTION_SET)


def test_answers_are_what_the_model_says_to_the_arms_passages(build: Build, tmp_path: Path) -> None:
    pipelines, generators = build()
    found = answered(pipelines, tmp_path / "journal")
    assert [(item.arm, item.qa_id) for item in found] == [
        (arm.name, question.id) for arm in ARMS for question in QUESTION_SET
    ]
    for item in found:
        arm = arm_named(item.arm)
        if arm.llm == "none":
            assert (item.answer, item.contexts) == (None, ())
            continue
        top = [SENTENCES[int(name[1:])] for name, _ in item.ranking[: LIMITS.top_k]]
        assert list(item.contexts) == top
        assert (arm.retrieval == "none") == (item.ranking == ())
        prompt = pipelines.render(QUESTIONS[int(item.qa_id[1:])][0], item.contexts)
        assert [item.answer] == [text.strip() for text in generators[arm.llm].generate([prompt], Sampling(5))]
    assert all(item.seconds > 0 for item in found)


def test_where_the_base_won_nothing_is_answered_twice(build: Build, tmp_path: Path) -> None:
    pipelines, generators = build(tuned_embedding=False, tuned_llm=False)
    found = by_arm(answered(pipelines, tmp_path / "journal"))
    assert generators["tuned"].batches == 0
    assert set(generators["base"].calls.values()) == {1}
    assert len(generators["base"].calls) == 2 * len(QUESTION_SET)  # with passages and without
    for question in QUESTION_SET:
        same = [found[name, question.id] for name in ("base", "tuned_embedding", "tuned_llm", "tuned_both")]
        assert len({(item.ranking, item.contexts, item.answer) for item in same}) == 1
        assert found["closed_book", question.id].answer == found["tuned_llm_closed_book", question.id].answer


def test_an_interrupted_evaluation_goes_on_from_the_last_batch(
    build: Build, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("raglift.evaluation.answering._BATCH", 3)
    whole = answered(build()[0], tmp_path / "whole")
    for stop in (1, 2, 4):
        path = tmp_path / f"cut{stop}"
        pipelines, generators = build()
        generators["base"].fail_at = stop
        with pytest.raises(KeyboardInterrupt):
            answered(pipelines, path)
        first = generators["base"].batches - 1
        pipelines, generators = build()
        resumed = answered(pipelines, path)
        total = -(-len(_prompts(pipelines, whole, "base")) // 3)
        assert generators["base"].batches == total - first
        assert [replace(item, seconds=0) for item in resumed] == [replace(item, seconds=0) for item in whole]
        pipelines, generators = build()
        answered(pipelines, path)
        assert generators["base"].batches == generators["tuned"].batches == 0


def _prompts(pipelines: Pipelines, found: Sequence[Answered], which: str) -> set[str]:
    return {
        pipelines.render(QUESTIONS[int(item.qa_id[1:])][0], item.contexts)
        for item in found
        if arm_named(item.arm).llm == which
    }


def test_only_the_questions_asked_have_answers(build: Build, tmp_path: Path) -> None:
    found = answered(build()[0], tmp_path / "journal", asked=QUESTION_SET[1:3])
    for item in found:
        expected = arm_named(item.arm).llm != "none" and item.qa_id in {"q1", "q2"}
        assert (item.answer is not None) == expected
        assert (item.ranking != ()) == (arm_named(item.arm).retrieval != "none")


def test_the_ranking_on_disk_is_cut_and_what_is_scored_is_not(
    build: Build, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert KEPT_RANKS >= 10
    monkeypatch.setattr("raglift.evaluation.answering.KEPT_RANKS", 3)
    pipelines, _ = build()
    limits = replace(LIMITS, depth=9)
    rankings = rank(QUESTION_SET, pipelines, limits, QUIET)
    found = by_arm(answered(pipelines, tmp_path / "journal", limits=limits))
    for question in QUESTION_SET:
        assert len(rankings["base"][0][question.id]) == 9
        assert found["base", question.id].ranking == rankings["base"][0][question.id][:3]


def test_questions_without_a_known_reaction_are_not_asked() -> None:
    silent = replace(QUESTION_SET[0], id="silent", answers=())
    refusing = replace(QUESTION_SET[0], id="refusing", answers=(), evidence=(), answerable=False)
    pool = [silent, refusing, *QUESTION_SET]
    assert [question.id for question in to_answer(pool, None, 0)] == ["refusing", "q0", "q1", "q2", "q3", "q4"]
    sample = to_answer(pool, 3, 0)
    assert len(sample) == 3
    assert sample == to_answer(pool, 3, 0) == [question for question in pool if question in sample]
    assert silent not in sample
    assert any(to_answer(pool, 3, seed) != sample for seed in range(1, 9))
    assert to_answer(pool, 6, 0) == to_answer(pool, None, 0)


def test_arms_are_named_once_and_the_dense_ones_found_by_their_models() -> None:
    assert len({arm.name for arm in ARMS}) == len(ARMS)
    assert dense_arm("base", "base") == "base"
    assert dense_arm("tuned", "tuned") == "tuned_both"
    assert dense_arm("tuned", "base") == "tuned_embedding"
    with pytest.raises(KeyError):
        arm_named("unheard of")
