"""Questions of a run out, and questions of others in, as the commands do it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from raglift import cli
from raglift.corpus.human import human_pairs
from raglift.corpus.judged import read_beir, read_questions
from raglift.exchange import files, read, write
from raglift.exchange.importing import import_questions, quotes_of
from raglift.exchange.run import open_questions, question_set
from raglift.progress import Progress
from raglift.records import Chunk, Document, Evidence, content_id
from tests.exchange.conftest import CHUNKS, HUMAN, SYNTHETIC, TIDES

QUIET = Progress(quiet=True)


def test_export_of_the_synthetic_questions(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "train.json"
    words = ["export", str(run), "--format", "llamaindex_qa", "--out", str(out), "--origin", "synthetic", "--json"]
    assert cli.main(words) == 0
    printed = capsys.readouterr()
    value = json.loads(printed.out)
    assert (value["questions"], value["format"]) == (4, "llamaindex_qa")
    assert "the answers of 4 questions" in value["lost"]
    assert "warning: llamaindex_qa cannot hold the answers of 4 questions." in printed.err
    made = json.loads(out.read_text())
    assert made["corpus"] == {chunk.id: chunk.text for chunk in CHUNKS}
    assert made["queries"] == {question.id: question.question for question in SYNTHETIC}
    assert made["relevant_docs"] == {q.id: [q.evidence[0].chunk_id] for q in SYNTHETIC}
    assert made["mode"] == "text"


@pytest.mark.parametrize(
    ("split", "origin", "ids"),
    [
        (None, None, ["h1", "h2", *(q.id for q in SYNTHETIC)]),
        ("test", None, ["h1", SYNTHETIC[2].id, SYNTHETIC[3].id]),
        (None, "human", ["h1", "h2"]),
        ("train", "synthetic", [SYNTHETIC[0].id]),
    ],
)
def test_split_and_origin_choose(run: Path, split: str | None, origin: str | None, ids: list[str]) -> None:
    content = question_set(open_questions(run), split, origin)  # type: ignore[arg-type]
    assert [question.id for question in content.questions] == ids
    assert content.chunks == CHUNKS


def test_what_cannot_be_exported_is_a_mistake(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def refused(*words: str) -> str:
        assert cli.main(["export", str(run), *words]) == 2
        return capsys.readouterr().err

    taken = tmp_path / "taken.json"
    taken.write_text("mine")
    assert "is there already" in refused("--format", "squad", "--out", str(taken))
    assert taken.read_text() == "mine"
    new = str(tmp_path / "new")
    assert "did you mean 'squad'?" in refused("--format", "sqad", "--out", new)
    assert "no question to write" in refused("--format", "beir", "--out", new, "--origin", "human", "--split", "train")
    assert "judged by document, not by chunk" in refused("--format", "beir", "--out", new, "--passages", "chunks")
    assert not Path(new).exists()
    assert cli.main(["export", "nothing", "--format", "beir", "--out", new, "--workspace", str(tmp_path)]) == 2


def test_a_place_in_the_home_folder_is_looked_at_before_the_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "taken.json").write_text("mine")
    words = ["--format", "squad", "--out", "~/taken.json", "--workspace", str(tmp_path)]
    assert cli.main(["export", "nothing", *words]) == 2
    assert "is there already" in capsys.readouterr().err


def test_a_run_without_questions(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    state = json.loads((run / "run.json").read_text())
    state["stages"] = state["stages"][:1]
    (run / "run.json").write_text(json.dumps(state))
    assert cli.main(["export", str(run), "--format", "beir", "--out", str(tmp_path / "x")]) == 2
    assert "has no questions yet" in capsys.readouterr().err


@pytest.mark.parametrize("by", ["documents", "auto"])
def test_beir_is_what_data_beir_reads(run: Path, tmp_path: Path, by: str) -> None:
    write(question_set(open_questions(run), "test"), tmp_path / "set", "beir", by, QUIET)  # type: ignore[arg-type]
    documents, questions = read_beir(str(tmp_path / "set"))
    assert [document.source for document in documents] == ["tides.md", "birds.md"]
    assert {question.id: dict(question.sources) for question in questions} == {
        "h1": {"tides.md": 1},
        SYNTHETIC[2].id: {"birds.md": 1},
        SYNTHETIC[3].id: {"birds.md": 1},
    }
    assert questions[0].answers == ("at noon",)


SQUAD = {
    "version": "v2.0",
    "data": [
        {
            "title": "Tides",
            "paragraphs": [
                {
                    "context": TIDES,
                    "qas": [
                        {
                            "id": "s1",
                            "question": "When is low water?",
                            "answers": [{"text": "six", "answer_start": 16}, {"text": "at six", "answer_start": 13}],
                            "is_impossible": False,
                        },
                        {
                            "id": "s2",
                            "question": "When is slack water?",
                            "answers": [],
                            "plausible_answers": [{"text": "noon", "answer_start": 38}],
                            "is_impossible": True,
                        },
                    ],
                }
            ],
        }
    ],
}


def test_import_writes_what_a_run_reads(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "dev-v2.0.json").write_text(json.dumps(SQUAD))
    out = tmp_path / "imported"
    assert cli.main(["import", str(tmp_path / "dev-v2.0.json"), "--format", "squad", "--out", str(out)]) == 0
    printed = capsys.readouterr()
    assert f"2 questions (1 unanswerable), 1 passage: {out}" in printed.out
    assert "plausible_answers (1 times)" in printed.err
    documents, questions = read_beir(str(out))
    assert [document.text for document in documents] == [TIDES]
    assert [(q.id, q.answers, q.answerable) for q in questions] == [("s1", ("six", "at six"), True), ("s2", (), False)]
    asked = read_questions(str(out / "questions.jsonl"), None)
    assert [(q.id, q.quotes, q.answerable) for q in asked] == [
        ("s1", ("Low water is at six.",), True),
        ("s2", (), False),
    ]
    # Over documents of one's own: the quote is found wherever it stands.
    text = f"# Harbour\n\nBoats go out.  {TIDES}"
    own = Document(content_id("own", text), "own.md", text, {}, "g")
    chunk = Chunk("c", own.id, text, 0, len(text))
    pairs, dropped = human_pairs(asked, [own], [chunk], 0.0, 0)
    assert not dropped
    (found,) = pairs[0].evidence
    assert text[found.start : found.end] == "Low water is at six."
    assert cli.main(["import", str(tmp_path / "dev-v2.0.json"), "--format", "squad", "--out", str(out)]) == 2
    assert "is there already" in capsys.readouterr().err


def test_import_says_what_a_run_does_not_use(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lines = [
        {"question": "a?", "answer": "b", "split": "train", "origin": "synthetic"},
        {"question": "c?", "contexts": ["d"], "context_ids": [7]},
    ]
    (tmp_path / "in.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    found = import_questions(tmp_path / "in.jsonl", "jsonl", tmp_path / "out")
    assert (found.count, found.passages, found.unanswerable) == (2, 1, 0)
    said = capsys.readouterr().err
    assert "a run does not use 1 question whose passage the file does not have." in said
    assert "the split of 1 question" in said
    assert "the synthetic origin of 1 question" in said
    documents, questions = read_beir(str(found.folder))
    assert ([d.source for d in documents], [q.question for q in questions]) == (["7"], ["c?"])


def test_quotes_are_whole_sentences_of_at_most_300_characters() -> None:
    text = "One two three. " * 30
    assert quotes_of(text, Evidence("d", None, 4, 7)) == ["One two three."]
    assert quotes_of(text, Evidence("d", None, 10, 20)) == ["One two three. One two three."]
    whole = quotes_of(text, Evidence("d", None, 0, len(text)))
    assert all(quote in text and len(quote) <= 300 for quote in whole)
    assert sum(map(len, whole)) + len(whole) == len(text)
    assert quotes_of("\u6f6e\u6c50\u3002\u6d77\u6d6a\u3002", Evidence("d", None, 3, 4)) == ["\u6d77\u6d6a\u3002"]


def test_every_format_of_the_run_can_be_imported_again(run: Path, tmp_path: Path) -> None:
    content = question_set(open_questions(run), origin="synthetic")
    for name in ("beir", "jsonl", "llamaindex_qa", "llamaindex_rag", "ragas", "squad"):
        write(content, tmp_path / name, name, display=QUIET)
        found = import_questions(tmp_path / name, name, tmp_path / f"{name}-in", QUIET)
        assert (found.count, found.unanswerable) == (4, 0)
        assert {q.question for q in read_beir(str(found.folder))[1]} == {q.question for q in SYNTHETIC}


def test_formats_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["formats", "--json"]) == 0
    rows = {row["name"]: row for row in json.loads(capsys.readouterr().out)}
    assert rows["beir"]["file"] == "folder"
    assert "answers" in rows["llamaindex_qa"]["lacks"]
    assert "spans" not in rows["squad"]["lacks"]
    assert cli.main(["formats"]) == 0
    assert "LabelledRagDataset" in capsys.readouterr().out


def test_ragas_reads_what_is_written_for_it(run: Path, tmp_path: Path) -> None:
    schema = pytest.importorskip("ragas.dataset_schema")
    write(question_set(open_questions(run)), tmp_path / "set.jsonl", "ragas", display=QUIET)
    dataset = schema.EvaluationDataset.from_jsonl(tmp_path / "set.jsonl")
    assert [sample.user_input for sample in dataset] == [q.question for q in (*HUMAN, *SYNTHETIC)]
    assert dataset[0].reference == "at noon"
    assert dataset[0].reference_contexts == [TIDES]
    dataset.to_jsonl(tmp_path / "again.jsonl")
    assert read(tmp_path / "again.jsonl", "ragas", QUIET) == read(tmp_path / "set.jsonl", "ragas", QUIET)


def test_an_interrupted_write_leaves_nothing(tmp_path: Path) -> None:
    def stop(record: int) -> int:
        if record == 1:
            raise KeyboardInterrupt
        return record

    for name in ("", "folder.txt"):
        with pytest.raises(KeyboardInterrupt):
            files.save(tmp_path / "out", {name: files.JsonLines([0, 1, 2], stop)}, QUIET)
        assert list(tmp_path.iterdir()) == []


def test_it_is_there_with_the_package() -> None:
    code = "import raglift; print(raglift.exchange.read.__module__)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "raglift.exchange.files\n"
