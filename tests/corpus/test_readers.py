from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from raglift.corpus.documents import document, read, read_documents
from raglift.corpus.judged import HumanQuestion, read_beir, read_questions
from raglift.errors import UserError

ENDINGS = ".csv, .docx, .htm, .html, .jsonl, .markdown, .md, .ndjson, .pdf, .rest, .rst, .tsv, .txt, .xhtml"


def _folder(root: Path, files: dict[str, bytes]) -> str:
    for name, data in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(data)
    return str(root)


def _lines(*rows: object) -> bytes:
    return "".join(json.dumps(row) + "\n" for row in rows).encode()


class TestFolder:
    def test_reads_text_and_markdown_at_any_depth_in_order(self, tmp_path: Path) -> None:
        files = {"b.txt": b"two", "a/c.md": b"one", "d.MARKDOWN": b"three", "e.png": b"no", "f.txt/g.txt": b"four"}
        found = read_documents(_folder(tmp_path, files))
        assert [(d.source, d.text) for d in found] == [
            ("a/c.md", "one"),
            ("b.txt", "two"),
            ("d.MARKDOWN", "three"),
            ("f.txt/g.txt", "four"),
        ]
        assert found[0] == document("a/c.md", "one")

    def test_line_ends_and_byte_order_marks(self, tmp_path: Path) -> None:
        _folder(tmp_path, {"a.txt": b"\xef\xbb\xbfone\r\ntwo\rthree\n", "b.txt": "caf\u00e9 \U0001f642".encode()})
        assert [d.text for d in read_documents(str(tmp_path))] == ["one\ntwo\nthree\n", "caf\u00e9 \U0001f642"]

    def test_ids_depend_on_source_and_text_alone(self, tmp_path: Path) -> None:
        one, two = (read_documents(_folder(tmp_path / name, {"a.txt": b"text"})) for name in ("one", "two"))
        assert one == two
        assert len({document("a", "b").id, document("a", "c").id, document("b", "b").id}) == 3

    def test_files_without_text_are_left_out(self, tmp_path: Path) -> None:
        files = {"a.txt": b"", "b.txt": b" \r\n\t", "c.txt": b"\xef\xbb\xbf", "d.txt": b"text"}
        assert [d.source for d in read_documents(_folder(tmp_path, files))] == ["d.txt"]

    def test_what_a_dot_hides_is_not_read(self, tmp_path: Path) -> None:
        hidden = [".hidden.txt", ".git/a.txt", "a/.venv/lib/b.md", "a/.c.md", ".bad\nname.txt"]
        files = {"a/b.txt": b"one", "v1.2/c.d.md": b"two", "..x/../e.txt": b"three"} | dict.fromkeys(hidden, b"\xff")
        root = tmp_path / ".cache"  # a dot above the folder hides nothing in it
        assert [d.source for d in read_documents(_folder(root, files))] == ["a/b.txt", "e.txt", "v1.2/c.d.md"]

    def test_a_folder_of_hidden_files_alone_holds_no_text(self, tmp_path: Path) -> None:
        with pytest.raises(UserError, match="holds no text"):
            read_documents(_folder(tmp_path, {".a.txt": b"text", ".git/b.md": b"text"}))

    @pytest.mark.parametrize("name", [b"caf\xe9.txt", b"caf\xe9/a.txt", b"two\nlines.txt", b"bell\x07.md"])
    def test_a_file_name_that_is_no_text_is_refused(self, tmp_path: Path, name: bytes) -> None:
        path = os.fsdecode(name)
        try:
            folder = _folder(tmp_path, {"fine.txt": b"text", path: b"text"})
        except OSError:
            pytest.skip("this file system takes no such name")
        reading = read(folder)
        assert [d.source for d in reading.documents] == ["fine.txt"]
        (left_out,) = reading.left_out
        assert left_out.reason == "a file name that cannot be read as text"
        assert left_out.source == ascii(path)[1:-1]
        assert str(left_out).isascii()  # it can be printed
        assert left_out.detail

    def test_file_names_in_any_script_are_read(self, tmp_path: Path) -> None:
        names = ["caf\u00e9 au lait.txt", "\u6e2f.md", "\U0001f642.txt"]
        assert [d.source for d in read_documents(_folder(tmp_path, dict.fromkeys(names, b"text")))] == sorted(names)

    @pytest.mark.parametrize(
        ("files", "why"),
        [
            ({"notes.odt": b"x"}, f"No file in it ends in {ENDINGS}."),
            ({"a.txt": b"", "b.md": b"\n"}, f"2 files end in {ENDINGS}; all of them are empty."),
        ],
    )
    def test_a_folder_without_text_is_refused(self, tmp_path: Path, files: dict[str, bytes], why: str) -> None:
        with pytest.raises(UserError, match="holds no text") as caught:
            read_documents(_folder(tmp_path, files))
        assert caught.value.why == why

    @pytest.mark.parametrize("name", ["none", "file.txt"])
    def test_what_is_no_folder_is_refused(self, tmp_path: Path, name: str) -> None:
        (tmp_path / "file.txt").write_text("text")
        with pytest.raises(UserError, match="There is no folder") as caught:
            read_documents(str(tmp_path / name))
        assert "python-reference" in caught.value.fix

    @pytest.mark.parametrize("names", [["gone.txt"], ["gone.txt", "b.md"]])
    def test_files_that_cannot_be_read_are_named(self, tmp_path: Path, names: list[str]) -> None:
        for name in names:
            (tmp_path / name).symlink_to(tmp_path / "nowhere")
        with pytest.raises(UserError, match="Nothing in the folder") as caught:
            read_documents(str(tmp_path))
        assert all(f"{name}: cannot be read" in caught.value.why for name in names)


CORPUS = _lines({"_id": "d1", "title": "T", "text": "one"}, {"_id": "d2", "text": "two"}, {"_id": "d3", "text": ""})
QUERIES = _lines(
    {"_id": "q1", "text": "first?", "answers": ["a", "b"]},
    {"_id": "q2", "text": "second?"},
    {"_id": "q3", "text": "not judged?"},
)
QRELS = b"query-id\tcorpus-id\tscore\nq1\td1\t1\nq1\td2\t0\nq2\td2\t2\nq2\td9\t1\n"
BEIR = {"corpus.jsonl": CORPUS, "queries.jsonl": QUERIES, "qrels/test.tsv": QRELS}


class TestBeir:
    def test_reads_the_layout(self, tmp_path: Path) -> None:
        documents, questions = read_beir(_folder(tmp_path, BEIR))
        assert documents == [document("d1", "T\none", {"title": "T"}), document("d2", "two")]
        assert questions == [
            HumanQuestion("q1", "first?", ("a", "b"), {"d1": 1}),
            HumanQuestion("q2", "second?", (), {"d2": 2, "d9": 1}),
        ]

    def test_line_ends_byte_order_marks_and_blank_lines_do_not_matter(self, tmp_path: Path) -> None:
        plain = read_beir(_folder(tmp_path / "plain", BEIR))
        windows = {name: b"\xef\xbb\xbf" + data.replace(b"\n", b"\r\n") + b"\r\n" for name, data in BEIR.items()}
        assert read_beir(_folder(tmp_path / "windows", windows)) == plain

    @pytest.mark.parametrize("headed", [True, False])
    def test_the_header_of_the_judgements_may_be_missing(self, tmp_path: Path, headed: bool) -> None:
        qrels = QRELS if headed else QRELS.split(b"\n", 1)[1]
        assert len(read_beir(_folder(tmp_path, BEIR | {"qrels/test.tsv": qrels}))[1]) == 2

    @pytest.mark.parametrize("space", [b"\t", b" ", b"  "])
    @pytest.mark.parametrize("iteration", [b"0", b"Q0"])
    def test_judgements_in_the_four_columns_of_trec(self, tmp_path: Path, space: bytes, iteration: bytes) -> None:
        corpus = _lines(*({"_id": str(number), "text": f"text {number}"} for number in range(3)))
        rows = [(b"q1", b"1", b"1"), (b"q1", b"2", b"0"), (b"q2", b"2", b"2"), (b"q2", b"0", b"-1")]
        qrels = b"".join(space.join((query, iteration, *rest)) + b" \n" for query, *rest in rows)
        _, questions = read_beir(_folder(tmp_path, BEIR | {"corpus.jsonl": corpus, "qrels/test.tsv": qrels}))
        assert {q.id: q.sources for q in questions} == {"q1": {"1": 1}, "q2": {"2": 2}}

    def test_only_tabs_divide_a_line_that_has_some(self, tmp_path: Path) -> None:
        _, questions = read_beir(_folder(tmp_path, BEIR | {"qrels/test.tsv": b"q1\tan id of words\t1\nq2\td2\t1\t\n"}))
        assert [q.sources for q in questions] == [{"an id of words": 1}, {"d2": 1}]

    def test_a_query_called_score_is_no_header(self, tmp_path: Path) -> None:
        files = {"queries.jsonl": _lines({"_id": "score", "text": "?"}), "qrels/test.tsv": b"score\td1\t1\n"}
        assert [q.sources for q in read_beir(_folder(tmp_path, BEIR | files))[1]] == [{"d1": 1}]

    def test_the_test_judgements_are_preferred(self, tmp_path: Path) -> None:
        files = BEIR | {"qrels/dev.tsv": b"q3\td1\t1\n"}
        assert [q.id for q in read_beir(_folder(tmp_path / "both", files))[1]] == ["q1", "q2"]
        del files["qrels/test.tsv"]
        assert [q.id for q in read_beir(_folder(tmp_path / "dev", files))[1]] == ["q3"]

    @pytest.mark.parametrize(
        ("answers", "expected"),
        [("one", ("one",)), (["x", 2], ("x", "2")), (42, ("42",)), (None, ()), ([], ()), ("", ())],
    )
    def test_answers_may_be_one_several_or_none(self, tmp_path: Path, answers: Any, expected: tuple[str, ...]) -> None:
        queries = _lines({"_id": "q1", "text": "?", "answers": answers})
        _, questions = read_beir(_folder(tmp_path, BEIR | {"queries.jsonl": queries}))
        assert questions[0].answers == expected

    def test_an_empty_text_is_none(self, tmp_path: Path) -> None:
        corpus = _lines({"_id": "d1", "text": None}, {"_id": "d2", "text": "two", "title": None})
        assert read_beir(_folder(tmp_path, BEIR | {"corpus.jsonl": corpus}))[0] == [document("d2", "two")]

    @pytest.mark.parametrize(
        ("name", "data", "what"),
        [
            ("corpus.jsonl", None, "corpus.jsonl is missing"),
            ("queries.jsonl", None, "queries.jsonl is missing"),
            ("qrels/test.tsv", None, "qrels holds no .tsv file"),
            ("corpus.jsonl", CORPUS + b"{\n", "corpus.jsonl:4 is not JSON"),
            ("corpus.jsonl", b"[1]\n", "corpus.jsonl:1 lacks one of the keys _id, text"),
            ("corpus.jsonl", CORPUS + _lines({"id": "d4", "text": "x"}), "corpus.jsonl:4 lacks one of the keys"),
            ("corpus.jsonl", CORPUS + _lines({"_id": "d1", "text": "x"}), "corpus.jsonl:4 repeats the _id 'd1'"),
            ("corpus.jsonl", b'{"_id": "d1", "text": "\\ud800"}\n', "corpus.jsonl:1 is not JSON"),
            ("corpus.jsonl", _lines({"_id": "d1", "text": " "}), "corpus.jsonl holds no text"),
            ("corpus.jsonl", b"\xff\xfe", "corpus.jsonl cannot be decoded"),
            ("queries.jsonl", b"\n" + QUERIES + b"x\n", "queries.jsonl:5 is not JSON"),
            ("queries.jsonl", b"[" * 200_000, "queries.jsonl:1 is not JSON"),
            ("queries.jsonl", QUERIES + QUERIES, "queries.jsonl:4 repeats the _id 'q1'"),
            ("qrels/test.tsv", QRELS + b"q1\td1\n", "test.tsv:6 is not 'query-id<TAB>corpus-id<TAB>score'"),
            ("qrels/test.tsv", QRELS + b"q1\t0\td1\t1\n", "test.tsv:6 is not"),
            ("qrels/test.tsv", b"q1 0 d1 1\nq1 d1 1\n", "test.tsv:2 is not"),
            ("qrels/test.tsv", b"q1 0 17 high\n", "test.tsv:1 is not"),
            ("qrels/test.tsv", b"q1 0 17 1 x\n", "test.tsv:1 is not"),
            ("qrels/test.tsv", b"q1 1\n", "test.tsv:1 is not"),
            ("qrels/test.tsv", b"query\tdocument\tgrade\n" + QRELS, "test.tsv:1 is not"),
        ],
    )
    def test_what_is_not_in_the_layout_is_named(self, tmp_path: Path, name: str, data: bytes | None, what: str) -> None:
        _folder(tmp_path, BEIR | {name: data or b""})
        if data is None:
            (tmp_path / name).unlink()
        with pytest.raises(UserError) as caught:
            read_beir(str(tmp_path))
        assert what in caught.value.what
        assert str(tmp_path) in caught.value.what

    def test_a_missing_folder(self, tmp_path: Path) -> None:
        with pytest.raises(UserError, match="There is no folder"):
            read_beir(str(tmp_path / "none"))


class TestQuestions:
    def test_none_without_a_file(self) -> None:
        assert read_questions(None, "docs") == []

    @pytest.mark.parametrize(
        ("row", "expected"),
        [
            ({"answer": "a"}, HumanQuestion("1", "?", ("a",), {})),
            ({"answer": ["a", "b"]}, HumanQuestion("1", "?", ("a", "b"), {})),
            ({"answer": 42}, HumanQuestion("1", "?", ("42",), {})),
            ({"answer": 0, "topics": "x.md"}, HumanQuestion("1", "?", ("0",), {"x.md": 1})),
            ({"topics": ["x.md", "y.md"]}, HumanQuestion("1", "?", (), {"x.md": 1, "y.md": 1})),
            ({"quotes": "text"}, HumanQuestion("1", "?", (), {}, ("text",))),
            ({"answer": None}, HumanQuestion("1", "?", (), {}, answerable=False)),
            ({"answer": [], "topics": [], "quotes": []}, HumanQuestion("1", "?", (), {}, answerable=False)),
            ({}, HumanQuestion("1", "?", (), {}, answerable=False)),
        ],
    )
    def test_a_line(self, tmp_path: Path, row: dict[str, Any], expected: HumanQuestion) -> None:
        (tmp_path / "q.jsonl").write_bytes(_lines({"id": 1, "question": "?"} | row))
        assert read_questions(str(tmp_path / "q.jsonl"), "docs") == [expected]

    @pytest.mark.parametrize(
        ("data", "what"),
        [
            (b"{}", "q.jsonl:1 lacks one of the keys id, question"),
            (b"no", "q.jsonl:1 is not JSON"),
            (_lines({"id": 1, "question": "?"}, {"id": "1", "question": "!"}), "q.jsonl:2 repeats the id '1'"),
            (b"\xe9", "q.jsonl cannot be decoded"),
        ],
    )
    def test_a_bad_line_is_named(self, tmp_path: Path, data: bytes, what: str) -> None:
        (tmp_path / "q.jsonl").write_bytes(data)
        with pytest.raises(UserError) as caught:
            read_questions(str(tmp_path / "q.jsonl"), "docs")
        assert what in caught.value.what

    def test_a_missing_file(self, tmp_path: Path) -> None:
        with pytest.raises(UserError, match="There is no file"):
            read_questions(str(tmp_path / "none.jsonl"), "docs")
