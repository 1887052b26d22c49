"""Pairs of a query and a passage: each format is read, and a mistake is named with its file and line."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from raglift.errors import UserError
from raglift.exchange.pairs import read_pairs
from raglift.progress import Progress
from raglift.synthesis.given_pairs import GivenPairs
from tests.exchange.test_malformed import QA
from tests.test_docs import ROOT, blocks

QUIET = Progress(quiet=True)
LINES = """{"query": "When is low water?", "passage": "Low water is at six."}

{"query": "Where does the kite nest?", "passage": "It nests in oaks.", "negatives": ["It eats voles."]}
"""


def texts(pairs: GivenPairs) -> list[tuple[str, str]]:
    return [(pair.query, pair.passage) for pair in pairs.items]


def written(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


def beir(folder: Path, **qrels: str) -> Path:
    written(folder / "corpus.jsonl", "".join(f'{{"_id": "d{n}", "text": "passage {n}"}}\n' for n in range(4)))
    written(folder / "queries.jsonl", "".join(f'{{"_id": "q{n}", "text": "query {n}"}}\n' for n in range(4)))
    for name, rows in qrels.items():
        written(folder / "qrels" / f"{name}.tsv", "query-id\tcorpus-id\tscore\n" + rows.replace(" ", "\t"))
    return folder


def test_lines_of_pairs(tmp_path: Path) -> None:
    first, second = read_pairs(written(tmp_path / "p.jsonl", LINES), QUIET).items
    assert (first.query, first.passage, first.negatives, first.given) == (
        "When is low water?",
        "Low water is at six.",
        (),
        0,
    )
    assert (second.negatives, second.given, len(second.negative_ids)) == (("It eats voles.",), 1, 1)


def test_keys_that_are_not_read_are_said(tmp_path: Path) -> None:
    said = io.StringIO()
    read_pairs(written(tmp_path / "p.jsonl", LINES.replace("negatives", "negative")), Progress(stream=said))
    assert "p.jsonl says what raglift has no place for, and it is left out: negative (1 times)" in said.getvalue()


def test_a_dataset_of_llamaindex(tmp_path: Path) -> None:
    several = QA.replace('"q1": ["n1"]', '"q1": ["n1", "n2"]').replace('"q2": ["n2"]', '"q2": []')
    found = read_pairs(written(tmp_path / "train.json", several), QUIET)
    asked = "When is low water?"
    assert texts(found) == [(asked, "Low water is at six."), (asked, "The kite nests in oaks.")]
    assert found.left_out == {"a query without a passage": 1}


def test_a_folder_trains_by_what_train_alone_judges(tmp_path: Path) -> None:
    whole = beir(tmp_path / "whole", test="q0 d0 1\nq1 d1 2\nq1 d2 1\nq2 d3 0\n")
    assert texts(read_pairs(whole, QUIET)) == [
        ("query 0", "passage 0"),
        ("query 1", "passage 1"),
        ("query 1", "passage 2"),
    ]
    split = beir(tmp_path / "split", train="q0 d0 1\nq1 d1 1\n", test="q1 d2 1\nq2 d3 1\n")
    assert texts(read_pairs(split, QUIET)) == [("query 0", "passage 0")]


@given(st.lists(st.tuples(*[st.text("ab \n\u00e9", min_size=1).filter(str.strip)] * 2), min_size=1, max_size=5))
def test_what_is_said_counts_and_not_where_or_how_it_is_written(rows: list[tuple[str, str]]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        files = {
            f"{name}.jsonl": "".join(json.dumps({"query": q, "passage": p}, ensure_ascii=form) + end for q, p in rows)
            for name, form, end in (("one", True, "\n"), ("two", False, "\n\n"))
        }
        patch.setattr(Path, "read_bytes", lambda path: files[path.name].encode())
        one, two = (read_pairs(name, QUIET) for name in files)
    assert texts(one) == list(rows)
    assert one.key == two.key
    assert GivenPairs(one.items[1:]).key != one.key
    names = {pair.passage: pair.chunk_id for pair in one.items}
    assert len(set(names.values())) == len({" ".join(passage.split()) for passage in names})


@pytest.mark.parametrize(
    ("name", "text", "where", "said"),
    [
        ("p.jsonl", LINES + '{"query": "Who?"}\n', "p.jsonl:4 ", "Passage is missing"),
        ("p.jsonl", LINES + '{"query": "Who?", "passage": " "}\n', "p.jsonl:4 ", "Passage holds no text"),
        ("p.jsonl", LINES + '{"query": "", "passage": "x"}\n', "p.jsonl:4 ", "Query holds no text"),
        ("p.jsonl", LINES.replace('["It eats voles."]', '"It eats voles."'), "p.jsonl:3 ", "Negatives must be a list"),
        ("p.jsonl", LINES.replace("It eats voles.", ""), "p.jsonl:3 ", "Negatives holds no text"),
        ("p.jsonl", LINES + "{\n", "p.jsonl:4 ", "not JSON"),
        ("p.jsonl", "", "p.jsonl holds no pair", ""),
        ("p.json", QA.replace('["n2"]', '["n3"]'), "p.json:12 ", "which `corpus` does not have"),
        ("p.json", LINES, "p.json:3 ", "not JSON"),
        ("p.json", QA.replace('["n1"]', "[]").replace('["n2"]', "[]"), "p.json holds no pair", "2 (a query without"),
        ("p.csv", "query,passage\n", "p.csv holds no pairs", "neither a folder nor a .jsonl or .json file"),
    ],
)
def test_a_mistake_is_named_with_its_line(tmp_path: Path, name: str, text: str, where: str, said: str) -> None:
    path = written(tmp_path / name, text)
    with pytest.raises(UserError) as caught:
        read_pairs(path, QUIET)
    assert f"{tmp_path}/{where}" in f"{caught.value.what} "
    assert said in caught.value.why
    assert "embedding.pairs names a .jsonl file" in caught.value.fix


def test_what_is_not_there_or_no_such_folder(tmp_path: Path) -> None:
    for name in ("none.jsonl", "none.json"):
        with pytest.raises(UserError, match=f"{name} cannot be read"):
            read_pairs(tmp_path / name, QUIET)
    with pytest.raises(UserError, match="none holds no pairs") as caught:
        read_pairs(tmp_path / "none", QUIET)
    assert caught.value.why.endswith("and it is not there.")
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match=r"corpus\.jsonl cannot be read"):
        read_pairs(tmp_path / "empty", QUIET)
    with pytest.raises(UserError, match="holds no pair"):
        read_pairs(beir(tmp_path / "beir", train="", test="q0 d0 1\n"), QUIET)
    with pytest.raises(UserError, match=r"test\.tsv:2 is not in the format"):
        read_pairs(beir(tmp_path / "wrong", test="q0 d0\n"), QUIET)


def test_the_examples_of_the_page_and_of_the_config_are_pairs(tmp_path: Path) -> None:
    (shown,) = blocks((ROOT / "docs" / "tuning.md").read_text("utf-8"), "json")
    page = read_pairs(written(tmp_path / "page.jsonl", shown), QUIET).items
    assert [pair.given for pair in page] == [1, 0]
    config = read_pairs(ROOT / "configs" / "pairs.jsonl", QUIET)
    assert len({pair.query for pair in config.items}) == len(config.items) >= 16
    assert any(pair.given for pair in config.items)
