"""Files as other projects wrote them, and files that are wrong: the error names file and line."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from raglift.errors import UserError
from raglift.exchange import read
from raglift.exchange.source import line_of
from raglift.progress import Progress

QUIET = Progress(quiet=True)
QA = """{
    "queries": {
        "q1": "When is low water?",
        "q2": "Where does the kite nest?"
    },
    "corpus": {
        "n1": "Low water is at six.",
        "n2": "The kite nests in oaks."
    },
    "relevant_docs": {
        "q1": ["n1"],
        "q2": ["n2"]
    },
    "mode": "text"
}"""
RAG = """{
    "examples": [
        {
            "query": "When is low water?",
            "query_by": {"model_name": "gpt-4", "type": "ai"},
            "reference_contexts": ["Low water is at six."],
            "reference_answer": "At six.",
            "reference_answer_by": {"model_name": "gpt-4", "type": "ai"}
        },
        {
            "query": "Who is the harbour master?",
            "query_by": {"model_name": "", "type": "human"},
            "reference_contexts": null,
            "reference_answer": "",
            "reference_answer_by": null
        }
    ]
}"""
SIX = '{"text": "six", "answer_start": 16}'
SQUAD = """{"version": "1.1", "data": [
  {"title": "Tides", "paragraphs": [
    {"context": "Low water is at six.", "qas": [
      {"id": "s1", "question": "When is low water?",
       "answers": [{"text": "six", "answer_start": 16}, {"text": "six", "answer_start": 16}]}
    ]}
  ]}
]}"""
RAGAS = """{"user_input": "When?", "reference": "At six.", "reference_contexts": ["Low water is at six."]}
{"user_input": "Who?", "response": "Nobody.", "retrieved_contexts": ["x"], "reference": "The crew."}
"""
JSONL = """{"question": "When?", "answer": "At six.", "context": "Low water is at six."}

{"id": 7, "question": "Who?", "answers": null, "topic": "harbour"}
"""


def written(folder: Path, text: str | bytes) -> Path:
    path = folder / "file"
    path.write_bytes(text.encode("utf-8") if isinstance(text, str) else text)
    return path


def test_a_qa_dataset_of_llamaindex(tmp_path: Path) -> None:
    found = read(written(tmp_path, QA), "llamaindex_qa", QUIET)
    assert [(d.source, d.text) for d in found.documents] == [
        ("n1", "Low water is at six."),
        ("n2", "The kite nests in oaks."),
    ]
    first = found.questions[0]
    assert (first.id, first.question, first.answerable) == ("q1", "When is low water?", True)
    assert first.evidence[0].document_id == found.documents[0].id


def test_a_rag_dataset_of_llamaindex(tmp_path: Path) -> None:
    said = io.StringIO()
    first, second = read(written(tmp_path, RAG), "llamaindex_rag", Progress(stream=said)).questions
    assert (first.answers, first.origin, first.answerable) == (("At six.",), "synthetic", True)
    assert (second.answers, second.origin, second.answerable) == ((), "human", False)
    assert (
        "warning: file says what raglift has no place for, and it is left out: model_name (2 times)" in said.getvalue()
    )


def test_squad_answers_are_places(tmp_path: Path) -> None:
    found = read(written(tmp_path, SQUAD), "squad", QUIET)
    (question,), (document,) = found.questions, found.documents
    assert document.metadata == {"title": "Tides"}
    assert (question.answers, [(e.start, e.end) for e in question.evidence]) == (("six",), [(16, 19)])


def test_ragas_and_plain_lines(tmp_path: Path) -> None:
    said = io.StringIO()
    first, second = read(written(tmp_path, RAGAS), "ragas", Progress(stream=said)).questions
    assert (first.answers, len(first.evidence)) == (("At six.",), 1)
    assert (second.answers, second.evidence, second.answerable) == (("The crew.",), (), True)
    assert "response (1 times), retrieved_contexts (1 times)" in said.getvalue()
    said = io.StringIO()
    first, second = read(written(tmp_path, JSONL), "jsonl", Progress(stream=said)).questions
    assert (first.answers, len(first.evidence), first.answerable) == (("At six.",), 1, True)
    assert (second.id, second.answerable) == ("7", False)
    assert "topic (1 times)" in said.getvalue()


@pytest.mark.parametrize(
    ("format", "text", "line", "said"),
    [
        ("llamaindex_qa", QA.replace('["n2"]', '["n3"]'), 12, "Relevant_docs.q2[0] is 'n3', which `corpus` does not"),
        ("llamaindex_qa", QA.replace('"q2": ["n2"]', '"q3": ["n2"]'), 12, "a query that `queries` does not have"),
        ("llamaindex_qa", QA.replace('"Where does the kite nest?"', "7"), 4, "Queries.q2 must be text"),
        ("llamaindex_qa", QA.replace('"n2": "The', '"n1": "The'), 8, "The key 'n1' stands twice in one object"),
        ("llamaindex_qa", QA.replace('    "mode"', '    mode'), 14, "not JSON"),
        ("llamaindex_qa", "[" * 100_000, 1, "nested too deeply"),
        ("llamaindex_qa", "[]", 1, "Must be an object"),
        ("llamaindex_qa", QA.replace("oaks", "\\ud800"), 8, "half of a surrogate pair"),
        ("llamaindex_rag", RAG.replace('"type": "human"', '"type": "robot"'), 12, "must be 'human' or 'ai'"),
        ("llamaindex_rag", RAG.replace('"query": "Who', '"qury": "Who'), 10, "Examples[1].query is missing"),
        ("squad", SQUAD.replace('"answer_start": 16}]', '"answer_start": 15}]'), 5, "does not stand at answer_start"),
        ("squad", SQUAD.replace('"text": "six"', '"text": ""'), 5, "has no text"),
        ("squad", SQUAD.replace(f'[{", ".join([SIX, SIX])}]', "[]"), 4, "has no answer and is not marked"),
        ("ragas", RAGAS.replace('"Who?"', '[{"content": "Who?", "type": "human"}]'), 2, "User_input must be text"),
        ("ragas", RAGAS.replace('six."]', 'six."], "reference_context_ids": [1, 2]'), 1, "2 reference_context_ids"),
        ("jsonl", JSONL + "{\n", 4, "not JSON"),
        ("jsonl", JSONL.replace('"answers": null', '"answer": "x", "answers": ["y"]'), 3, "both answer and answers"),
        ("jsonl", JSONL.replace('"answers": null', '"split": "tset"'), 3, "Split must be 'train', 'dev' or 'test'"),
        ("jsonl", JSONL.replace('"answers": null', '"contexts": ["a"], "spans": [[0, 2]]'), 3, "not two places within"),
        ("jsonl", JSONL.replace('"answers": null', '"contexts": ["a"], "grades": [1, 2]'), 3, "2 items for 1 contexts"),
        ("jsonl", JSONL.replace('"answers": null', '"scores": {"a": NaN}'), 3, "finite"),
        ("jsonl", JSONL.encode() + b'{"question": "\xff"}', 4, "Byte"),
        ("jsonl", JSONL + '{"question": "x", "contexts": ["a"], "context_ids": [1]}\n'
         '{"question": "y", "contexts": ["b"], "context_ids": ["1"]}\n', 5, "The context '1' has another text above"),
    ],
)  # fmt: skip
def test_a_mistake_is_named_with_its_line(tmp_path: Path, format: str, text: str | bytes, line: int, said: str) -> None:
    with pytest.raises(UserError) as caught:
        read(written(tmp_path, text), format, QUIET)
    assert f"{tmp_path / 'file'}:{line} " in caught.value.what
    assert said in caught.value.why
    assert caught.value.fix


@pytest.mark.parametrize(
    ("file", "text", "where", "said"),
    [
        ("corpus.jsonl", '{"_id": "d1", "text": "a"}\n{"_id": "d1", "text": "b"}\n', "corpus.jsonl:2 ", "repeats"),
        ("queries.jsonl", '{"_id": "q1"}\n', "queries.jsonl:1 ", "Text is missing"),
        ("queries.jsonl", '{"_id": "q1", "text": "a"}\n' * 2, "queries.jsonl:2 ", "repeats"),
        ("qrels/test.tsv", "query-id\tcorpus-id\tscore\nq1\td1\n", "test.tsv:2 ", "query-id<TAB>"),
        ("qrels/test.tsv", "q1\td1\t\u00b2\n", "test.tsv:1 ", "query-id<TAB>"),
    ],
)
def test_a_mistake_in_beir(tmp_path: Path, file: str, text: str, where: str, said: str) -> None:
    (tmp_path / "qrels").mkdir()
    (tmp_path / "corpus.jsonl").write_text('{"_id": "d1", "text": "a"}\n')
    (tmp_path / "queries.jsonl").write_text('{"_id": "q1", "text": "a"}\n')
    (tmp_path / "qrels" / "test.tsv").write_text("query-id\tcorpus-id\tscore\nq1\td1\t2\nq9\td1\t1\nq1\td1\t0\n")
    shown = io.StringIO()
    (question,) = read(tmp_path, "beir", Progress(stream=shown)).questions
    assert [item.grade for item in question.evidence] == [2]
    assert "judgements about what queries.jsonl or corpus.jsonl lacks (1 times)" in shown.getvalue()
    assert "judgements of 0 or less (1 times)" in shown.getvalue()
    (tmp_path / file).write_text(text)
    with pytest.raises(UserError, match="is not in the format") as caught:
        read(tmp_path, "beir", QUIET)
    assert where in caught.value.what
    assert said in caught.value.why


def test_what_is_not_there_or_empty(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="cannot be read"):
        read(tmp_path / "none.json", "squad", QUIET)
    with pytest.raises(UserError, match="cannot be read"):
        read(tmp_path, "squad", QUIET)
    with pytest.raises(UserError, match="holds no question"):
        read(written(tmp_path, ""), "jsonl", QUIET)
    with pytest.raises(UserError, match="did you mean 'ragas'"):
        read(tmp_path, "raga", QUIET)
    with pytest.raises(UserError, match="Two questions have the id '1'"):
        read(written(tmp_path, '{"id": 1, "question": "a"}\n{"id": "1", "question": "b"}\n'), "jsonl", QUIET)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
)


def places(value: Any, steps: tuple[str | int, ...] = ()) -> list[tuple[tuple[str | int, ...], Any]]:
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [(steps, value), *(found for key, inner in items for found in places(inner, (*steps, key)))]


@given(value=json_values, indent=st.sampled_from([None, 0, 2]))
def test_the_line_of_every_value_is_found(value: Any, indent: int | None) -> None:
    text = json.dumps(value, indent=indent, ensure_ascii=False)
    for steps, inner in places(value):
        line = line_of(text, steps)
        rest = text.split("\n")[line - 1 :]
        assert json.dumps(inner, ensure_ascii=False)[:1] in rest[0]
        assert line == line_of(text, (*steps, "no such step")) or isinstance(inner, dict)
    numbered = json.dumps({"a": list(range(5))}, indent=2)
    assert [line_of(numbered, ["a", n]) for n in range(5)] == [3, 4, 5, 6, 7]
