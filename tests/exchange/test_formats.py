"""The laws that every format keeps, over question sets of every shape."""

from __future__ import annotations

import io
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import get_args

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from raglift import plugins
from raglift.exchange import QuestionSet, files, read, write
from raglift.exchange.features import Feature, reduce
from raglift.exchange.sets import as_passages
from raglift.progress import Progress
from raglift.records import Chunk, Document, Evidence, QAPair, content_id

FORMATS = plugins.names(files.KIND)
QUIET = Progress(quiet=True)
every_format = pytest.mark.parametrize("name", FORMATS)

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)
some_text = texts.filter(bool)
words = st.sampled_from(["low water", "kite", "at six", "oak \u2028 wood", "\u6f6e", "=1+1", '"', "a\tb\nc", "\ufeff"])
names = st.text(st.characters(categories=["L", "N", "P", "Zs"]), min_size=1, max_size=8).filter(lambda s: s.strip())


@st.composite
def documents(draw: st.DrawFn) -> list[Document]:
    """Documents with sources that differ, some with titles that their texts begin with or not."""
    found = []
    for source in draw(st.lists(names, min_size=1, max_size=4, unique=True)):
        text = "".join(draw(st.lists(words | texts, max_size=5)))
        title = draw(st.none() | names)
        metadata = draw(st.dictionaries(names.filter(lambda key: key != "title"), texts, max_size=2))
        if title is not None:
            metadata["title"] = title
            text = f"{title}\n{text}" if draw(st.booleans()) else text
        group = draw(st.sampled_from(["", "g"]))
        found.append(Document(content_id(source, text), source, text, metadata, group))
    return found


@st.composite
def sets(draw: st.DrawFn) -> QuestionSet:
    """Documents, some cut into chunks; questions of every kind about them."""
    docs = draw(documents())
    chunks = []
    if draw(st.booleans()):
        for document in docs:
            cut = draw(st.integers(0, len(document.text)))
            for start, end in ((0, cut), (cut, len(document.text))):
                if end > start:
                    name = content_id(document.id, start)
                    chunks.append(Chunk(name, document.id, document.text[start:end], start, end))
    by_chunk = bool(chunks) and draw(st.booleans())
    questions = []
    for identity in draw(st.lists(names, min_size=1, max_size=5, unique=True)):
        evidence = []
        for _ in range(draw(st.integers(0, 3))):
            place = draw(st.sampled_from(chunks if by_chunk else docs))
            begin = place.start if isinstance(place, Chunk) else 0
            start = draw(st.integers(0, len(place.text)))
            end = draw(st.integers(start, len(place.text)))
            grade = draw(st.integers(1, 3))
            if isinstance(place, Chunk):
                evidence.append(Evidence(place.document_id, place.id, begin + start, begin + end, grade))
            else:
                evidence.append(Evidence(place.id, None, start, end, grade))
        held = [item for d in docs for item in [d.text[2:6]] if item]
        answers = draw(st.lists(some_text | words | (st.sampled_from(held) if held else words), max_size=3))
        questions.append(
            QAPair(
                identity,
                draw(some_text | words),
                tuple(answers),
                tuple(evidence),
                draw(st.sampled_from(["human", "factoid"])),
                draw(st.sampled_from(["train", "dev", "test"])),
                draw(st.sampled_from(["human", "synthetic"])),
                draw(st.booleans()),
                draw(st.dictionaries(names, st.floats(allow_nan=False, allow_infinity=False), max_size=2)),
            )
        )
    return QuestionSet(tuple(docs), tuple(chunks), tuple(questions))


def in_order(content: QuestionSet) -> tuple[list[Document], list[QAPair]]:
    return sorted(content.documents, key=lambda d: d.source), sorted(content.questions, key=lambda q: q.id)


def written_and_read(content: QuestionSet, name: str) -> tuple[QuestionSet, list[str]]:
    with tempfile.TemporaryDirectory() as folder:
        made = write(content, Path(folder) / "file", name, display=QUIET)
        found = read(Path(folder) / "file", name, QUIET)
        assert (made.questions, made.passages) == (len(found.questions), len(found.documents))
        return found, list(made.lost)


@every_format
@settings(max_examples=150, suppress_health_check=[HealthCheck.filter_too_much, HealthCheck.too_slow])
@given(content=sets())
def test_what_is_read_back_is_what_was_written_less_what_was_said(name: str, content: QuestionSet) -> None:
    """The round-trip law. Nothing that was not said is lost, and nothing is lost twice."""
    passages, moved = as_passages(content)
    expected, lost = reduce(passages, files.load(name).holds)
    if not expected.questions:
        return
    found, said = written_and_read(content, name)
    assert said == moved + lost
    assert in_order(found) == in_order(expected)
    again, more = written_and_read(found, name)
    assert more == []
    assert in_order(again) == in_order(found)
    if not said:
        assert in_order(found) == in_order(passages)


@settings(max_examples=100)
@given(content=sets(), by=st.sampled_from(["auto", "documents"]))
def test_as_passages_keeps_questions_and_the_words_of_the_evidence(content: QuestionSet, by: str) -> None:
    found, _ = as_passages(content, by)  # type: ignore[arg-type]
    assert [q.id for q in found.questions] == [q.id for q in content.questions]
    before = {document.id: document.text for document in content.documents}
    after = {document.id: document.text for document in found.documents}
    for old, new in zip(content.questions, found.questions, strict=True):
        quotes = {before[e.document_id][e.start : e.end] for e in old.evidence if e.end > e.start}
        assert quotes <= {after[e.document_id][e.start : e.end] for e in new.evidence}
    assert as_passages(found)[0] == found


@every_format
def test_a_format_says_what_it_is(name: str) -> None:
    layout = files.load(name)
    assert layout.name == name
    assert layout.about
    assert layout.ending in (".json", ".jsonl", "")
    assert set(layout.holds) <= set(get_args(Feature))


def rich() -> QuestionSet:
    """A set with something of every feature."""
    tides = Document("d1", "tides.md", "Low water is at six. High water is at noon.", {"title": "Tides"}, "g", "dev")
    birds = Document("d2", "birds.md", "The kite nests in oaks.", {"author": "me"})
    unused = Document("d3", "unused.md", "Nobody asks about this.")
    questions = (
        QAPair("q1", "When is low water?", ("six", "at six"), (Evidence("d1", None, 13, 19, 2),), "factoid", "train",
               "synthetic", scores={"rank": 1.0}),
        QAPair("q2", "Where do kites nest?", ("in trees",), (Evidence("d2", None, 0, 23),), "human", "test", "human"),
        QAPair("q3", "Who painted the wall?", ("nobody",), (Evidence("d2", None, 0, 8),), "none", "test", "synthetic",
               answerable=False),
        QAPair("q4", "What else?", (), (), "human", "test", "human"),
    )  # fmt: skip
    return QuestionSet((tides, birds, unused), (), questions)


@every_format
def test_every_loss_of_a_rich_set_is_said(name: str, tmp_path: Path) -> None:
    said = io.StringIO()
    lost = write(rich(), tmp_path / "out", name, display=Progress(stream=said)).lost
    assert lost
    for loss in lost:
        assert f"warning: {name} cannot hold {loss}." in said.getvalue()
    missing = set(get_args(Feature)) - set(files.load(name).holds)
    trivial = {"questions with nothing"} if "answers" not in files.load(name).holds else set()
    assert len(lost) >= len(missing - {"judgements beyond the answer"} - trivial) - 1


def test_chunks_are_the_passages_of_a_set_that_is_judged_by_chunk() -> None:
    text = "Low water is at six. High water is at noon."
    document = Document("d", "tides.md", text)
    chunks = (Chunk("c1", "d", text[:21], 0, 21), Chunk("c2", "d", text[21:], 21, len(text)))
    asked = QAPair(
        "q", "When is high water?", ("noon",), (Evidence("d", "c2", 21, 43),), "factoid", "test", "synthetic"
    )
    found, lost = as_passages(QuestionSet((document,), chunks, (asked,)))
    assert [(d.source, d.text, d.metadata) for d in found.documents] == [
        ("c1", text[:21], {"title": "tides.md"}),
        ("c2", text[21:], {"title": "tides.md"}),
    ]
    assert found.questions[0].evidence == (Evidence(found.documents[1].id, None, 0, 22),)
    assert lost == ["where 2 passages stand in their documents"]
    by_document = replace(asked, id="h", evidence=(Evidence("d", None, 0, 43),))
    mixed, lost = as_passages(QuestionSet((document,), chunks, (asked, by_document)))
    assert [d.source for d in mixed.documents] == ["tides.md"]
    assert lost == ["how the documents are cut into 2 chunks"]
