"""Sheets are blind and shuffled, and agreement is Krippendorff's."""

from __future__ import annotations

import json
import random
from html.parser import HTMLParser
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from raglift.errors import UserError
from raglift.judging.agreement import krippendorff_alpha
from raglift.judging.items import Item
from raglift.judging.sheets import Placed, make_sheet, read_keys, read_labels, sheet_html, value_of, write_key

ARMS = ("base", "tuned_both")


def observers(*rows: str) -> list[dict[str, str]]:
    """Labels as Krippendorff prints them: a row an observer, a dot where a unit has none."""
    return [{str(unit): label for unit, label in enumerate(row.split()) if label != "."} for row in rows]


@pytest.mark.parametrize(
    ("rows", "alpha"),
    [
        (("0 1 0 0 0 0 0 0 1 0", "1 1 1 0 0 1 0 0 0 0"), 0.095),
        (("a a b b d c c c e d d a", "b a b b b c c c e d d d"), 0.692),
        (
            (
                "1 2 3 3 2 1 4 1 2 . . .",
                "1 2 3 3 2 2 4 1 2 5 . 3",
                ". 3 3 3 2 3 4 2 2 5 1 .",
                "1 2 3 3 2 4 4 1 2 5 1 .",
            ),
            0.743,
        ),
    ],
    ids=["A binary", "B nominal", "C four observers with gaps"],
)
def test_alpha_is_that_of_krippendorffs_worked_examples(rows: tuple[str, ...], alpha: float) -> None:
    assert krippendorff_alpha(observers(*rows)) == pytest.approx(alpha, abs=0.0006)


@given(st.lists(st.sampled_from("abc"), min_size=2, max_size=30), st.randoms())
def test_alpha_is_one_for_equal_labels_and_does_not_depend_on_the_order(labels: list[str], rng: random.Random) -> None:
    one = dict(zip(map(str, range(len(labels))), labels, strict=True))
    assert krippendorff_alpha([one, one]) == (1.0 if len(set(labels)) > 1 else None)
    other = dict(zip(one, rng.sample(labels, len(labels)), strict=True))
    assert krippendorff_alpha([one, other]) == krippendorff_alpha([other, one])


def test_alpha_of_nothing_is_none() -> None:
    assert krippendorff_alpha([]) is None
    assert krippendorff_alpha(observers("a b . .", ". . a b")) is None


def items(count: int, answer: str) -> list[Item]:
    return [Item(f"q{n}", f"What is {n}?", f"{answer} {n}", ("right",)) for n in range(count)]


def sheet(count: int = 40, most: int | None = None, seed: int = 0):  # type: ignore[no-untyped-def]
    sets = {"human": {"base": items(count, "plain"), "tuned_both": items(count, "fine")}}
    return make_sheet(sets, ARMS, most, seed, "key")


def test_sides_and_order_are_drawn_by_the_seed() -> None:
    made = sheet()
    assert made == sheet()
    assert made.pairs != sheet(seed=1).pairs
    first = [placed.first for placed in made.key.values()]
    assert 8 < first.count("base") < 32
    order = [made.key[pair.id].qa_id for pair in made.pairs]
    assert sorted(order) == sorted(f"q{n}" for n in range(40))
    assert order != sorted(order, key=lambda name: int(name[1:]))
    short = sheet(most=7)
    assert short.pairs == made.pairs[:7]
    assert (short.id, short.key) == (made.id, made.key)


def test_the_key_says_whose_answer_is_first() -> None:
    made = sheet()
    for pair in made.pairs:
        word = pair.A.split()[0]
        assert {"plain": "base", "fine": "tuned_both"}[word] == made.key[pair.id].first
        assert value_of("A", made.key[pair.id], "base") == float(word == "plain")
        assert value_of("B", made.key[pair.id], "base") == float(word == "fine")
        assert value_of("tie", made.key[pair.id], "base") == 0.5


def test_equal_and_missing_answers_are_not_asked_about() -> None:
    one = [Item("a", "?", "same  words"), Item("b", "?", None), Item("c", "?", "x"), Item("d", "?", "x")]
    other = [Item("a", "?", "same words"), Item("b", "?", "x"), Item("c", "?", "y")]
    made = make_sheet({"s": {"base": one, "tuned_both": other}}, ARMS, None, 0, "key")
    assert [placed.qa_id for placed in made.key.values()] == ["c"]


class Page(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.named: list[tuple[str, str]] = []
        self.links: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        given = {name: value or "" for name, value in attrs}
        if tag == "input":
            self.named.append((given["name"], given["value"]))
        self.links += [given[name] for name in ("src", "href") if name in given]


def test_the_page_is_blind_loads_nothing_and_runs_no_answer() -> None:
    hostile = '</article><script>alert("x")</script><img src=http://a.b/c>'
    sets = {"s": {"base": [Item("a", hostile, hostile, (hostile,))], "tuned_both": [Item("a", hostile, hostile + "b")]}}
    made = make_sheet(sets, ARMS, None, 0, "key")
    html = sheet_html(made)
    page = Page()
    page.feed(html)
    assert page.tags.count("script") == 1
    assert page.tags.count("article") == 1
    assert "img" not in page.tags
    assert page.links == []
    assert page.named == [(made.pairs[0].id, label) for label in ("A", "B", "tie")]
    for shown in (html, json.dumps([str(pair) for pair in made.pairs])):
        assert not any(arm in shown for arm in ARMS)


def test_labels_are_read_as_they_were_saved(tmp_path: Path) -> None:
    made = sheet(5)
    write_key(tmp_path / "sheets", made)
    keys = read_keys(tmp_path / "sheets", "key")
    assert {name: placed for name, (_, placed) in keys.items()} == dict(made.key)
    assert all(arms == ARMS for arms, _ in keys.values())
    assert read_keys(tmp_path / "sheets", "other answers") == {}
    names = [pair.id for pair in made.pairs]
    file = tmp_path / "labels.jsonl"
    file.write_text(
        "\n".join(
            json.dumps({"id": n, "label": label}) for n, label in zip(names, ["A", "tie", None, ""], strict=False)
        ),
        encoding="utf-8",
    )
    assert read_labels(file, keys) == {names[0]: "A", names[1]: "tie"}


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("A\n", "is no label"),
        ('["x"]\n', "is no label"),
        ('{"id": "p", "label": "C"}\n', "a label that is none"),
        ('{"id": "p", "label": ["A"]}\n', "a label that is none"),
        ('{"id": "other", "label": "A"}\n', "no sheet of this run"),
        ('{"id": ["p"], "label": "A"}\n', "no sheet of this run"),
        ('{"id": "p", "label": null}\n', "There is no label"),
        ('{"id": "p", "label": "A"}\n{"id": "p", "label": "B"}\n', "another label"),
        ("", "There is no label"),
    ],
)
def test_a_wrong_file_is_told_with_its_line(tmp_path: Path, text: str, told: str) -> None:
    file = tmp_path / "labels.jsonl"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(UserError, match=told):
        read_labels(file, {"p": Placed("s", "q", "base")})
    with pytest.raises(UserError, match="Cannot read"):
        read_labels(tmp_path / "none.jsonl", {})
