from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as limit
from hypothesis import strategies as st

from raglift import plugins
from raglift.config import SynthesisConfig
from raglift.corpus.stage import Corpus
from raglift.errors import UserError
from raglift.records import Chunk, Document, Split, write_jsonl
from raglift.synthesis.evidence import evidence_texts
from raglift.synthesis.human_examples import HumanExample, HumanExamples
from raglift.synthesis.kinds._base import QuestionKind
from raglift.synthesis.partners import with_partners
from raglift.synthesis.stage import TAUGHT, planned
from raglift.synthesis.vocabulary import content_stems
from raglift.synthesis.writer import Assignment, plan

KINDS: dict[str, QuestionKind] = {name: plugins.load("question kind", name) for name in ("comparison", "factoid")}
KITE = "The red kite builds its nest in tall oaks at the edge of the open fields of the valley."
GOSHAWK = "The goshawk builds its nest in old spruces of the valley, far from any path."
LIGHT = "The keeper of the lighthouse writes the name of every passing ship into a blue book."


def corpus(folder: Path, rows: Sequence[tuple[str, Split]]) -> Corpus:
    """A document and a chunk for each text."""
    documents = [Document(f"d{n}", f"{n}.md", text, split=split) for n, (text, split) in enumerate(rows)]
    write_jsonl(folder / "documents.jsonl", documents)
    chunks = [Chunk(f"c{n}", f"d{n}", text, 0, len(text)) for n, (text, _) in enumerate(rows)]
    write_jsonl(folder / "chunks.jsonl", chunks)
    return Corpus(folder)


def about(number: int, text: str, kind: str = "comparison") -> Assignment:
    return Assignment(f"c{number}", text, kind)


def test_the_related_passage_is_the_partner(tmp_path: Path) -> None:
    made = corpus(tmp_path, [(KITE, "train"), (LIGHT, "train"), (GOSHAWK, "train")])
    found, left_out = with_partners([about(0, KITE), about(1, LIGHT, "factoid")], KINDS, made, made.chunks)
    assert found == [Assignment("c0", KITE, "comparison", "c2", GOSHAWK), about(1, LIGHT, "factoid")]
    assert found[0].parts == [("c0", KITE), ("c2", GOSHAWK)]
    assert found[0].shown == f"{KITE}\nSecond text: {GOSHAWK}"
    assert found[1].shown == LIGHT
    assert not left_out


@pytest.mark.parametrize(
    "other",
    [
        (GOSHAWK, "test"),  # what is held out never stands in a training question
        (f"{KITE} It is seen all year.", "train"),  # repeats the first
        (LIGHT.replace("The keeper of the lighthouse", "She"), "train"),  # about something else
        ("goshawk | nest | valley | oaks", "train"),  # nothing to read
    ],
)
def test_what_must_not_be_a_partner(tmp_path: Path, other: tuple[str, Split]) -> None:
    made = corpus(tmp_path, [(KITE, "train"), other])
    found, left_out = with_partners([about(0, KITE)], KINDS, made, made.chunks)
    assert found == []
    assert left_out == {"comparison not asked: no related passage": 1}


def test_many_nearer_passages_of_other_splits_are_not_in_the_way(tmp_path: Path) -> None:
    nearer: list[tuple[str, Split]] = [(KITE.replace("tall", f"{n} tall"), "train") for n in range(40)]
    made = corpus(tmp_path, [(KITE, "test"), (GOSHAWK, "test"), *nearer])
    found, left_out = with_partners([about(0, KITE)], KINDS, made, made.chunks)
    assert [item.other_id for item in found] == ["c1"]
    assert not left_out


def test_without_such_a_kind_nothing_is_looked_for(tmp_path: Path) -> None:
    nothing_there = Corpus(tmp_path / "nowhere")
    assert with_partners([about(0, KITE, "factoid")], KINDS, nothing_there, []) == ([about(0, KITE, "factoid")], {})


NOUNS = ["harbour", "lighthouse", "keeper", "valley", "goshawk", "kite", "nest", "oak", "cargo", "pier", "winter"]
WORDS = st.sampled_from(NOUNS)
SENTENCE = st.lists(WORDS, min_size=8, max_size=12).map(lambda words: " ".join(words).capitalize() + ".")
ROWS = st.lists(st.tuples(SENTENCE, st.sampled_from(["train", "dev", "test"])), min_size=1, max_size=12)


@given(rows=ROWS)
@limit(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_partners_share_a_split_and_a_word_and_do_not_repeat(tmp_path: Path, rows: list[tuple[str, Split]]) -> None:
    made = corpus(tmp_path, rows)
    drawn = plan(made.chunks, {"comparison": 1.0, "factoid": 1.0}, 1.0, None, 0)
    found, left_out = with_partners(drawn, KINDS, made, made.chunks)
    assert len(found) + sum(left_out.values()) == len(drawn)
    assert with_partners(drawn, KINDS, made, made.chunks) == (found, left_out)
    split = {f"c{n}": split for n, (_, split) in enumerate(rows)}
    for item in found:
        if item.kind == "factoid":
            assert item in drawn
            continue
        assert item.other_id != item.chunk_id
        assert split[item.other_id] == split[item.chunk_id]
        assert item.other in evidence_texts(made.text_of[item.other_id])
        assert item.other not in made.text_of[item.chunk_id]
        assert item.text not in made.text_of[item.other_id]
        assert item.other_id not in made.similar.get(item.chunk_id, ())
        assert content_stems(item.text) & content_stems(item.other)


def test_documents_without_two_related_passages_are_a_mistake(tmp_path: Path) -> None:
    made = corpus(tmp_path, [(KITE, "train"), (LIGHT, "train")])
    with pytest.raises(UserError, match="nothing to ask") as caught:
        planned(SynthesisConfig(kinds={"comparison": 1.0}), made, 0, HumanExamples())
    assert "comparison" in caught.value.why
    assert "synthesis.kinds" in caught.value.fix
    mixed, left_out = planned(
        SynthesisConfig(kinds={"comparison": 1.0, "factoid": 1.0}, questions_per_chunk=8), made, 0, HumanExamples()
    )
    assert {item.kind for item in mixed} == {"factoid"}
    assert left_out.total() > 0


def test_a_document_that_taught_the_writer_is_no_partner(tmp_path: Path) -> None:
    settings = SynthesisConfig(kinds={"comparison": 1.0}, questions_per_chunk=1.0)
    made = corpus(tmp_path, [(KITE, "train"), (GOSHAWK, "train"), (GOSHAWK.replace("spruces", "pines"), "train")])
    whole, _ = planned(settings, made, 0, HumanExamples())
    assert "d1" in {f"d{chunk_id[1:]}" for item in whole for chunk_id, _ in item.parts}
    found, left_out = planned(settings, made, 0, HumanExamples(taught=frozenset({"d1"})))
    assert {chunk_id for item in found for chunk_id, _ in item.parts} == {"c0", "c2"}
    assert left_out[TAUGHT] == 1


def test_the_text_of_an_example_is_no_partner_in_a_test_document(tmp_path: Path) -> None:
    settings = SynthesisConfig(kinds={"comparison": 1.0, "factoid": 1.0}, questions_per_chunk=8)
    made = corpus(tmp_path, [(KITE, "test"), (GOSHAWK, "test")])
    whole, _ = planned(settings, made, 0, HumanExamples())
    assert any(item.other == GOSHAWK for item in whole)
    found, _ = planned(settings, made, 0, HumanExamples((HumanExample(GOSHAWK, "And?"),)))
    assert {text for item in found for _, text in item.parts} == {KITE}
