"""People's examples: where they come from, which kind they fit, and what must not be asked again."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from llama_index.core.llms import CompletionResponse, CustomLLM, LLMMetadata

from raglift.config import SynthesisConfig, WriterConfig, config_from_dict
from raglift.corpus.stage import Corpus, read_sources
from raglift.errors import UserError
from raglift.journal import Journal
from raglift.progress import Progress
from raglift.records import Chunk, Document, Evidence, QAPair, Split, write_jsonl
from raglift.synthesis.asking import asking_of, kinds_of
from raglift.synthesis.example_sources import dev_examples, examples_of, given_examples, read_examples, with_taught
from raglift.synthesis.human_examples import HumanExample, HumanExamples, overlaps
from raglift.synthesis.llm_build import llm_writer
from raglift.synthesis.llm_writer import write_with_llm
from raglift.synthesis.shots import with_examples
from raglift.synthesis.stage import TAUGHT, planned

BUILT_IN = kinds_of(SynthesisConfig())
SPLITS: tuple[Split, ...] = ("train", "train", "dev", "test")


def sentence(number: int) -> str:
    return f"The keeper of tower {number} writes ship {number} into a book bound in leather {number + 100}."


def row(number: int, **more: str) -> dict[str, Any]:
    asked = f"What does the keeper of tower {number} write into?"
    return {"text": sentence(number), "question": asked, "answer": "a book bound in leather", **more}


def write_rows(path: Path, rows: list[dict[str, Any]]) -> str:
    path.write_text("".join(json.dumps(item) + "\n" for item in rows), encoding="utf-8")
    return str(path)


@pytest.fixture
def corpus(tmp_path: Path) -> Corpus:
    """Documents d0 to d19, two sentences each; the splits repeat, d16 repeats d0, and all have a human question."""
    folder = tmp_path / "corpus"
    folder.mkdir()
    documents, chunks, human = [], [], []
    for number in range(20):
        text = f"{sentence(number)} Visitors number {number} may climb the stairs on every Sunday afternoon."
        group = "d0" if number == 16 else f"d{number}"
        documents.append(Document(f"d{number}", f"{number}.md", text, {}, group, SPLITS[number % 4]))
        chunks.append(Chunk(f"c{number}", f"d{number}", text, 0, len(text)))
        evidence = (Evidence(f"d{number}", f"c{number}", 0, len(sentence(number))),)
        asked = f"What does the keeper of tower {number} write into?"
        split: Split = "test" if number % 2 else "dev"
        human.append(QAPair(f"h{number}", asked, ("a book bound in leather",), evidence, "human", split, "human"))
    write_jsonl(folder / "documents.jsonl", documents)
    write_jsonl(folder / "chunks.jsonl", chunks)
    write_jsonl(folder / "human.jsonl", human)
    return Corpus(folder)


def test_dev_examples_are_sentences_of_the_evidence_with_the_answer(corpus: Corpus) -> None:
    found = dev_examples(corpus)
    assert [item.documents for item in found.items] == [(f"d{number}",) for number in range(0, 20, 2)]
    for item, number in zip(found.items, range(0, 20, 2), strict=True):
        assert sentence(number) in item.text
        assert item.answer == "a book bound in leather"
        assert item.asks
    assert not found.left_out


def test_a_test_question_is_never_an_example(corpus: Corpus, tmp_path: Path) -> None:
    test = {pair.question for pair in corpus.human if pair.split == "test"}
    assert not test & {item.question for item in dev_examples(corpus).items}
    rows = [row(number) for number in range(20)]
    rows[1]["question"] = rows[1]["question"].upper()  # the same words
    settings = SynthesisConfig(examples=write_rows(tmp_path / "rows.jsonl", rows))
    found = examples_of(settings, given_examples(settings, elsewhere=False), corpus)
    assert [item.documents for item in found.items] == [(f"d{number}",) for number in range(0, 20, 2)]
    assert found.left_out == {"a test question of people": 10}


def test_whole_document_evidence_gives_the_sentence_with_the_answer(corpus: Corpus) -> None:
    whole = [
        QAPair(p.id, p.question, answers, (Evidence(e.document_id),), "human", "dev", "human")
        for p in corpus.human
        for e in p.evidence
        for answers in [("the stairs",) if p.id != "h3" else ()]
    ]
    write_jsonl(corpus.path / "human.jsonl", whole)
    found = dev_examples(Corpus(corpus.path))
    assert len(found.items) == 20
    for item in found.items:
        if item.documents == ("d3",):
            assert (item.answer, sentence(3) in item.text) == ("", True)  # the sentence that shares its words
        else:
            assert item.answer == "the stairs"
            assert "climb the stairs" in item.text


def test_what_an_example_of_a_file_may_be(tmp_path: Path) -> None:
    rows = [
        *(row(number) for number in range(8)),
        row(20, question="tower  keeper\nbook"),  # words that somebody typed
        row(21, answer="A Book Bound  in LEATHER."),  # as it stands in the text
        row(22, answer="no such words"),
        row(23, question="What is a book bound in leather?"),  # gives its answer away
        row(24, question="\u4ec0\u4e48 tower 24\uff1f"),
        row(25, question="The tower is shut. What now? Thanks"),
        {"text": " ".join(sentence(n) for n in range(30, 40)), "question": "Who is in tower 35?", "answer": "135"},
        {"text": sentence(40), "question": "Who keeps tower 40?", "answer": None},
    ]
    found = {item.text: item for item in read_examples(write_rows(tmp_path / "rows.jsonl", rows)).items}
    assert len(found) == len(rows)
    by_number = {number: found[sentence(number)] for number in (20, 21, 22, 23, 24, 25, 40)}
    assert (by_number[20].question, by_number[20].asks) == ("tower keeper book", False)
    assert by_number[21].answer == "a book bound in leather"
    assert (by_number[22].answer, by_number[22].answer_words) == ("", 3)
    assert by_number[23].answer == ""
    assert by_number[24].question == "\u4ec0\u4e48 tower 24?"
    assert by_number[25].question == "The tower is shut. What now?"
    assert by_number[40] == HumanExample(sentence(40), "Who keeps tower 40?")
    long = next(item for item in found.values() if item.question == "Who is in tower 35?")
    assert long.answer == "135"
    assert sentence(35) in long.text
    assert len(long.text) < 300


def test_too_few_examples_are_counted_with_what_one_needs(tmp_path: Path) -> None:
    rows = [
        *(row(number) for number in range(7)),
        {"text": sentence(7)},
        {"question": "And?"},
        row(8, question="x" * 301),
    ]
    with pytest.raises(UserError, match="gives 7 usable examples, and at least 8 are needed") as caught:
        read_examples(write_rows(tmp_path / "rows.jsonl", rows))
    assert "2 left out: no question, or no readable text" in caught.value.why
    assert "1 left out: a question of more than 300 characters" in caught.value.why
    assert '"text"' in caught.value.fix
    write_rows(tmp_path / "rows.jsonl", [row(number) for number in (*range(7), 0, 1)])  # said twice is said once
    with pytest.raises(UserError, match="gives 7 usable"):
        read_examples(str(tmp_path / "rows.jsonl"))
    with pytest.raises(UserError, match="dev gives 0 usable"):
        dev_examples(_without_human(tmp_path))


def _without_human(folder: Path) -> Corpus:
    for name in ("documents", "chunks", "human"):
        (folder / f"{name}.jsonl").write_text("")
    return Corpus(folder)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"{", "rows.jsonl:1 is not JSON"),
        (b"\n[1]\n", "rows.jsonl:2 is no example"),
        (b'{"text": 3, "question": "a?"}', "rows.jsonl:1 is no example"),
        (b'{"text": "a", "question": "a?", "answer": ["b"]}', "rows.jsonl:1 is no example"),
        (b'{"text": "\\ud800", "question": "a?"}', "rows.jsonl:1 is not JSON"),
        (b"[" * 100_000, "rows.jsonl:1 is not JSON"),
        (b"\xff", "cannot be read"),
        (None, "cannot be read"),
        (b"", "gives 0 usable examples"),
    ],
)
def test_files_that_are_no_examples(tmp_path: Path, content: bytes | None, message: str) -> None:
    if content is not None:
        (tmp_path / "rows.jsonl").write_bytes(content)
    with pytest.raises(UserError, match=message):
        read_examples(str(tmp_path / "rows.jsonl"))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"tune_writer": True}, "needs synthesis.examples"),
        (
            {"tune_writer": True, "examples": "dev", "writer": {"kind": "ollama", "model": "m"}},
            "synthesis.writer writes",
        ),
    ],
)
def test_settings_that_contradict_each_other(change: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        config_from_dict({"data": {"documents": "python-reference"}, "synthesis": change})


def test_tuning_needs_64_examples_and_the_local_writer(corpus: Corpus, tmp_path: Path) -> None:
    name = write_rows(tmp_path / "rows.jsonl", [row(number) for number in range(63)])
    settings = SynthesisConfig(examples=name, tune_writer=True)
    with pytest.raises(UserError, match="at least 64 examples, and 63 are usable"):
        given_examples(settings, elsewhere=False)
    with pytest.raises(UserError, match="a writer was passed"):
        given_examples(settings, elsewhere=True)
    with pytest.raises(UserError, match="at least 64 examples, and 10 are usable"):
        examples_of(SynthesisConfig(examples="dev", tune_writer=True), HumanExamples(), corpus)


def test_the_documents_of_a_file_are_named_or_found(corpus: Corpus, tmp_path: Path) -> None:
    rows = [row(number) for number in range(0, 20, 2)]
    rows[1]["text"], rows[1]["document"] = "A text that stands nowhere, about a book bound in leather.", "2.md"
    rows[2]["text"] = "Another text that stands nowhere, about a book bound in leather."
    settings = SynthesisConfig(examples=write_rows(tmp_path / "rows.jsonl", rows))
    found = examples_of(settings, given_examples(settings, elsewhere=False), corpus).items
    assert [item.documents for item in found[:4]] == [("d0",), ("d2",), (), ("d6",)]


def test_a_tuned_writer_does_not_write_about_what_taught_it(corpus: Corpus, tmp_path: Path) -> None:
    rows = [row(number) for number in (0, *range(40, 50))]
    settings = SynthesisConfig(examples=write_rows(tmp_path / "rows.jsonl", rows))
    examples = with_taught(examples_of(settings, given_examples(settings, elsewhere=False), corpus), corpus)
    assert examples.taught == {"d0", "d16"}  # which repeats it
    assignments, held_back = planned(settings, corpus, 0, examples)
    assert {item.chunk_id for item in assignments} == {f"c{n}" for n in range(20)} - {"c0", "c16"}
    assert held_back[TAUGHT] == 2
    everything = HumanExamples(examples.items, taught=frozenset(f"d{n}" for n in range(20) if n % 4 < 2))
    with pytest.raises(UserError, match="No document of the train split is left"):
        planned(settings, corpus, 0, everything)


def test_no_test_question_is_written_about_the_text_of_an_example(corpus: Corpus) -> None:
    settings = SynthesisConfig(questions_per_chunk=5.0)
    examples = HumanExamples((HumanExample(sentence(3), "And?"), HumanExample(sentence(0), "And?")))
    assignments, held_back = planned(settings, corpus, 0, examples)
    texts = {name: {item.text for item in assignments if item.chunk_id == name} for name in ("c0", "c3", "c7")}
    assert not any(overlaps(text, sentence(3)) for text in texts["c3"])
    assert any(sentence(0) in text for text in texts["c0"])  # a train document
    assert any(sentence(7) in text for text in texts["c7"])
    before, _ = planned(settings, corpus, 0, HumanExamples())
    assert sum(held_back.values()) == len(before) - len(assignments) > 0


def test_the_file_of_examples_is_no_document(tmp_path: Path) -> None:
    (tmp_path / "a.md").write_text("# A page\n\nSome words.\n", encoding="utf-8")
    name = write_rows(tmp_path / "rows.jsonl", [row(0)])

    def sources(**synthesis: Any) -> list[str]:
        config = config_from_dict({"data": {"documents": str(tmp_path)}, "synthesis": synthesis})
        return [document.source for document in read_sources(config)[0].documents]

    assert sources(examples=name) == ["a.md"]
    assert len(sources()) > 1


@pytest.mark.parametrize("change", [lambda text: text.upper(), lambda text: "  " + text.replace(" ", "\n")])
def test_a_question_that_repeats_an_example(change: Callable[[str], str]) -> None:
    examples = HumanExamples((HumanExample(sentence(0), "Who writes into the book?"),))
    assert examples.repeats(change("Who writes into the book?"))
    assert not examples.repeats("Who writes into the blue book?")


class Listening(CustomLLM):
    """Keeps the prompts that it is sent, and answers all alike."""

    @property
    def metadata(self) -> LLMMetadata:
        return LLMMetadata(model_name="listening", num_output=32)

    def complete(self, prompt: str, formatted: bool = False, **kwargs: Any) -> CompletionResponse:
        HEARD.append(prompt)
        return CompletionResponse(text="leather" if prompt.endswith("Answer:") else "What is it bound in?")

    def stream_complete(self, prompt: str, formatted: bool = False, **kwargs: Any) -> Any:
        raise NotImplementedError


HEARD: list[str] = []


def test_a_writer_elsewhere_is_shown_the_examples_too(corpus: Corpus, tmp_path: Path) -> None:
    HEARD.clear()
    items = [HumanExample(sentence(n), f"Which book is in tower {n}?", "leather", 1) for n in range(50, 58)]
    items += [HumanExample(sentence(n), f"book tower {n}") for n in range(60, 64)]
    examples = HumanExamples(tuple(items))
    settings = SynthesisConfig(kinds={"factoid": 1.0, "keyword": 1.0, "explanation": 1.0})
    asking, _ = with_examples(asking_of(settings), examples, 0)
    assignments, _ = planned(settings, corpus, 0, examples)
    writer = llm_writer(SynthesisConfig(writer=WriterConfig(kind="python", concurrency=1)), 0, Listening())
    assert writer is not None
    journal = Journal(tmp_path / "journal.jsonl")
    written, _ = write_with_llm(assignments, writer, asking, journal, Progress(quiet=True))
    journal.close()
    assert len(written) == len(assignments)
    shown = {
        (
            prompt.rpartition("\n")[2],
            sum(item.text in prompt for item in items),
            BUILT_IN["factoid"].shots[0].text in prompt,
        )
        for prompt in HEARD
    }
    kept = {("Question:", 0, False)}  # nobody explained anything: the built-in examples stay
    assert shown - kept == {
        ("Question:", 5, False),
        ("Answer:", 5, False),
        ("Search:", 4, False),
        ("Answer:", 0, False),
    }


def test_the_example_in_the_documentation(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = (Path(__file__).parents[2] / "docs" / "synthesis.md").read_text("utf-8")
    lines = next(block for block in re.findall(r"^```jsonl\n(.*?)^```$", page, re.MULTILINE | re.DOTALL))
    code = next(b for b in re.findall(r"^```python\n(.*?)^```$", page, re.MULTILINE | re.DOTALL) if "kinds_for" in b)
    (tmp_path / "examples.jsonl").write_text(lines, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    told: list[Any] = []
    exec(compile(code, "synthesis.md", "exec"), {"print": lambda *words: told.append(words)})
    assert ("human examples", 8) in told
    assert ("keyword: worked examples from people", 3) in told
