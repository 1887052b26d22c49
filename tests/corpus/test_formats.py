"""What each document format is read as."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from raglift import plugins
from raglift.corpus.documents import read
from raglift.corpus.parse_child import answer
from raglift.corpus.readers import _text, jsonl
from raglift.corpus.readers._reader import DAMAGED, TOO_LONG, Limits, Reader, UnreadableError
from tests.corpus.builders import docx, page, paragraph, shown, stream

LIMITS = Limits()
WORDS = st.text(st.characters(codec="utf-8", exclude_categories=["Cc"]), max_size=6)
DOCS = Path(__file__).parents[2] / "docs" / "data.md"


def parsed(tmp_path: Path, name: str, data: bytes | str) -> list[tuple[str, str, dict[str, str]]]:
    """The documents of a file, in this process."""
    path = tmp_path / f"file{name}"
    path.write_bytes(data.encode() if isinstance(data, str) else data)
    (reader,) = [
        found for found in plugins.names("document reader") if name in plugins.load("document reader", found).suffixes
    ]
    found = answer({"reader": reader, "path": str(path)}, LIMITS)
    assert "documents" in found, found
    return list(found["documents"])


def text(tmp_path: Path, name: str, data: bytes | str) -> str:
    ((key, found, _),) = parsed(tmp_path, name, data)
    assert key == ""
    return found


@pytest.mark.parametrize("name", plugins.names("document reader"))
def test_every_reader_says_what_it_reads(name: str) -> None:
    reader = plugins.load("document reader", name)
    assert isinstance(reader, Reader)
    assert reader.suffixes
    assert all(suffix.startswith(".") and suffix == suffix.lower() for suffix in reader.suffixes)
    assert all(f"`{suffix}`" in DOCS.read_text("utf-8") for suffix in reader.suffixes), "docs/data.md lists it"


def test_no_two_readers_want_the_same_files() -> None:
    readers = [plugins.load("document reader", name) for name in plugins.names("document reader")]
    suffixes = [suffix for reader in readers for suffix in reader.suffixes]
    assert len(suffixes) == len(set(suffixes))


@pytest.mark.parametrize(
    ("html", "expected"),
    [
        ("<h1>Fees</h1><p>Twelve <b>euros</b>\n each.</p>", "# Fees\n\nTwelve euros each."),
        ("<ul><li>one<li><p>two</p></ul>", "- one\n\n- two"),
        ("<table><tr><th>a<th>b<tr><td>1<td>2</table>", "a | b\n\n1 | 2"),
        ("<p>one<br>two</p>", "one\ntwo"),
        ("<pre>def f():\n    pass</pre>", "def f():\n    pass"),
        ("<title>no</title><nav>no</nav><script>no</script><p>yes", "yes"),
        ("<p aria-hidden=true>no</p>tail<p style='font-size:0'>no</p><p style='font-size:0.9em'>yes", "tail\n\nyes"),
        ("<p style='opacity: 0.5'>seen</p><p style='opacity:0'>not</p>", "seen"),
        ("<p>\u6e2f\u53e3 &amp; &#x6e2f;&nbsp;x", "\u6e2f\u53e3 & \u6e2f x"),
        ("<?xml version='1.0' encoding='utf-8'?><html><body><p>x</p></body></html>", "x"),
        ("just words", "just words"),
        ("<div>menu</div><main><p>fees</p></main>tail<footer>imprint</footer>", "fees"),
        ("<main> </main><p>fees</p>", "fees"),
        ("<main>one</main><main>two</main>", "one\n\ntwo"),
    ],
)
def test_a_page_is_what_a_visitor_sees(tmp_path: Path, html: str, expected: str) -> None:
    assert text(tmp_path, ".html", html) == expected


def test_a_page_in_the_encoding_that_it_declares(tmp_path: Path) -> None:
    words = "\u041f\u043b\u0430\u0442\u0430 \u0437\u0430 \u043e\u0442\u043c\u0435\u043d\u0443"
    data = f'<meta http-equiv="Content-Type" content="text/html; charset=windows-1251"><p>{words}'.encode("cp1251")
    assert text(tmp_path, ".htm", data) == words


def test_word_headings_lists_tables_and_text_boxes(tmp_path: Path) -> None:
    def cell(*texts: str) -> str:
        return f"<w:tc>{''.join(map(paragraph, texts))}</w:tc>"

    body = (
        '<w:p><w:pPr><w:pStyle w:val="Heading2"/></w:pPr><w:r><w:t>Fees</w:t></w:r></w:p>'
        '<w:p><w:pPr><w:numPr><w:ilvl w:val="0"/></w:numPr></w:pPr><w:r><w:t>one</w:t></w:r></w:p>'
        '<w:p><w:r><w:t xml:space="preserve">split </w:t></w:r><w:hyperlink><w:r><w:t>link</w:t></w:r></w:hyperlink>'
        "<w:r><w:br/><w:t>next</w:t><w:tab/><w:t>tab</w:t></w:r></w:p>"
        f"<w:tbl><w:tr>{cell('a', 'b')}{cell('')}{cell('c')}</w:tr></w:tbl>"
        "<w:p><w:ins><w:r><w:t>added</w:t></w:r></w:ins></w:p>"
    )
    expected = ["## Fees", "- one", "split link\nnext\ttab", "a b |  | c", "added"]
    assert text(tmp_path, ".docx", docx(body)) == "\n\n".join(expected)


def test_a_table_within_a_table_stays_in_its_row(tmp_path: Path) -> None:
    inner = f"<w:tbl><w:tr><w:tc>{paragraph('x')}</w:tc><w:tc>{paragraph('y')}</w:tc></w:tr></w:tbl>"
    body = f"<w:tbl><w:tr><w:tc>{paragraph('a')}{inner}</w:tc><w:tc>{paragraph('b')}</w:tc></w:tr></w:tbl>"
    assert text(tmp_path, ".docx", docx(body)) == "a x | y | b"


def test_the_pages_of_a_pdf(tmp_path: Path) -> None:
    assert text(tmp_path, ".pdf", page(stream(shown("Late cancellations")))) == "Late cancellations"


@pytest.mark.parametrize(
    ("rst", "expected"),
    [
        ("Title\n=====\n\nPart\n----\n\nOther\n-----\nx\n", "# Title\n\n## Part\n\n## Other\nx\n"),
        ("=====\nTitle\n=====\n\nPart\n====\n", "# Title\n\n## Part\n"),
        ("See :ref:`the fees <fees>` and :py:func:`~a.b.pay`.\n", "See the fees and pay.\n"),
        ("A `link <https://x.org>`_ and `name`_ and ``code``.\n", "A link and name and ``code``.\n"),
        (".. _label:\n\n.. a comment\n   goes on\n\nx\n", "x\n"),
        (".. note::\n   :class: x\n\n   Mind the fee.\n", "\n   Mind the fee.\n"),
        (".. code-block:: python\n   :linenos:\n\n   pay()\n", "\n   pay()\n"),
        (".. py:function:: pay(fee)\n\n   Pays.\n", "pay(fee)\n\n   Pays.\n"),
        (".. [1] A footnote.\n", ".. [1] A footnote.\n"),
        (".. warning:: Mind it.\n\nx\n", "Mind it.\n\nx\n"),
        (".. toctree::\n   :maxdepth: 2\n\n   a\n   b\n\nx\n", "x\n"),
        ("==== ====\na    b\n==== ====\n1    2\n==== ====\n", "==== ====\na    b\n==== ====\n1    2\n==== ====\n"),
        ("one\n\n----\n\ntwo\n", "one\n\n----\n\ntwo\n"),
    ],
)
def test_restructured_text(tmp_path: Path, rst: str, expected: str) -> None:
    assert text(tmp_path, ".rst", rst).strip("\n") == expected.strip("\n")


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_a_row_of_a_table_is_a_document(tmp_path: Path, delimiter: str) -> None:
    rows = [["ID", "title", "Text"], ["a", "Fees", "Twelve, euros;\nper | head"], ["", "", "Free"], ["", "", ""]]
    out = io.StringIO()
    csv.writer(out, delimiter=delimiter).writerows(rows)
    assert parsed(tmp_path, ".csv", out.getvalue()) == [
        ("a", "Fees\nTwelve, euros;\nper | head", {"title": "Fees"}),
        ("row 2", "Free", {}),
    ]


def test_a_place_is_never_taken_for_the_id_of_another_row(tmp_path: Path) -> None:
    assert parsed(tmp_path, ".csv", "id,text\n2,first\n,second\n") == [("2", "first", {}), ("row 2", "second", {})]


def test_a_table_without_texts_gives_its_fields(tmp_path: Path) -> None:
    assert parsed(tmp_path, ".tsv", "city\tfee\tnote\nParis\t12\t\nRome\t7\tpaid\n") == [
        ("1", "city: Paris\nfee: 12", {}),
        ("2", "city: Rome\nfee: 7\nnote: paid", {}),
    ]


def test_lines_of_json(tmp_path: Path) -> None:
    rows = [
        {"_id": "x", "title": "T", "text": "one"},
        "two",
        {"content": ["three", "four"]},
        {"fee": 1.50, "nested": {"a": [1, "2", True, None], '\u00e9"': {"b": -2.5e10}}, "none": None},
        {"marks": [3, 4]},
    ]
    data = "\n\n".join(map(json.dumps, rows))
    assert parsed(tmp_path, ".jsonl", data) == [
        ("x", "T\none", {"title": "T"}),
        ("3", "two", {}),
        ("5", "three\nfour", {}),
        ("7", 'fee: 1.5\nnested: {"a": [1, "2", true, null], "\u00e9\\"": {"b": -25000000000.0}}', {}),
        ("9", "marks: 3\n4", {}),
    ]


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | WORDS,
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(WORDS, inner, max_size=3),
        max_leaves=8,
    )
)
def test_what_is_nested_in_json_stays_the_same_json(value: Any) -> None:
    line = json.dumps({"x": {"y": value}}, ensure_ascii=False)
    (piece,) = jsonl.read(line.encode(), Limits())
    assert piece.text == "x: " + json.dumps({"y": value}, ensure_ascii=False)


@pytest.mark.parametrize("number", ["1.50", "-0.0", "1E5", "9" * 5000])
def test_numbers_stand_as_they_were_written(number: str) -> None:
    pieces = list(jsonl.read(f'{{"id": {number[:9]}, "x": {number}, "y": [[{number}]]}}'.encode(), Limits()))
    assert [(piece.key, piece.text) for piece in pieces] == [(number[:9], f"x: {number}\ny: [[{number}]]")]


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("a.csv", "id,text\nx,one\ny,two\nx,three\nx,one\n"),
        ("a.jsonl", '{"id": "x", "text": "one"}\n{"_id": "y", "text": "two"}\n' + 2 * '{"id": "x", "text": "three"}\n'),
    ],
)
def test_of_rows_with_one_id_the_first_stays(tmp_path: Path, name: str, data: str) -> None:
    (tmp_path / name).write_text(data)
    (tmp_path / "b.csv").write_text("id,text\nx,of another file\n")
    reading = read(str(tmp_path))
    expected = [(f"{name}#x", "one"), (f"{name}#y", "two"), ("b.csv#x", "of another file")]
    assert [(found.source, found.text) for found in reading.documents] == expected
    assert not reading.left_out
    assert reading.repeated == {name: 2}
    assert ("rows left out: an earlier one has their id", 2) in reading.counts()
    said: list[str] = []
    reading.warn(said.append)
    assert len(said) == 1
    assert f"earlier row of the file has their id: {name} (2)." in said[0]


@pytest.mark.parametrize("suffix", [".csv", ".tsv"])
def test_a_field_may_be_as_long_as_a_document(tmp_path: Path, suffix: str) -> None:
    long = "word " * 40_000  # Python's own limit is 131,072 characters
    mark = "," if suffix == ".csv" else "\t"
    assert parsed(tmp_path, suffix, f"id{mark}text\nx{mark}{long}\n") == [("x", long, {})]


GERMAN = "Die Geb\u00fchr f\u00fcr die sp\u00e4te Absage betr\u00e4gt zw\u00f6lf Euro, au\u00dfer im Sommer."
RUSSIAN = (
    "\u041f\u043e\u0437\u0434\u043d\u044f\u044f \u043e\u0442\u043c\u0435\u043d\u0430 "
    "\u0432\u043e\u0437\u0432\u0440\u0430\u0449\u0430\u0435\u0442\u0441\u044f \u043d\u0430 \u043f\u044f\u0442\u044c "
) * 3
JAPANESE = "\u30ad\u30e3\u30f3\u30bb\u30eb\u304c\u9045\u308c\u305f\u5834\u5408\u306f\u3001\u624b\u6570\u6599\u3092"
CHINESE = "\u8fdf\u5230\u7684\u53d6\u6d88\u5c06\u9000\u8fd8\u767e\u5206\u4e4b\u4e94\u5341\uff0c\u51cf\u53bb\u624b\u7eed"
KOREAN = "\ub2a6\uc740 \ucde8\uc18c\ub294 \uc218\uc218\ub8cc\ub97c \uc81c\uc678\ud55c \ud658\ubd88\ub429\ub2c8\ub2e4"


@pytest.mark.parametrize(
    ("words", "encoding"),
    [
        (GERMAN, "cp1252"),
        (RUSSIAN, "cp1251"),
        (RUSSIAN, "koi8-r"),
        (JAPANESE, "shift_jis"),
        (JAPANESE, "euc_jp"),
        (CHINESE, "gb18030"),
        (KOREAN, "euc_kr"),
        ("caf\u00e9", "cp1252"),
        (GERMAN, "utf-16"),
        (RUSSIAN, "utf-32"),
    ],
)
def test_encodings_are_found(tmp_path: Path, words: str, encoding: str) -> None:
    (tmp_path / "a.txt").write_bytes(words.encode(encoding))
    (tmp_path / "b.txt").write_text("plain", "utf-8")
    reading = read(str(tmp_path))
    assert reading.documents[0].text == words
    assert set(reading.guessed) == (set() if encoding.startswith("utf") else {"a.txt"})
    said: list[str] = []
    reading.warn(said.append)
    assert len(said) == len(reading.guessed)
    assert all("a.txt" in line and "guessed" in line for line in said)


@given(st.text(max_size=200), st.sampled_from(["utf-8", "utf-8-sig", "utf-16", "utf-32"]))
def test_marked_encodings_give_the_text_back(words: str, encoding: str) -> None:
    words = "".join(letter for letter in words if letter.isprintable())  # controls are no text, marks are taken off
    assert _text.decode(words.encode(encoding)) == words


HIDING = st.sampled_from(
    "a\u00e9\u0301\u0300\u064a\u0915\u094d\u200c\u200d\u200b\u202e\u2066\ufe0f\U000e0100\U0001f3f4\U000e0067\U000e007f\r\n\x07\ud800"
)


@given(st.text(HIDING, max_size=80) | st.text(max_size=80))
def test_cleaning_only_takes_away_and_once_is_enough(words: str) -> None:
    cleaned = _text.clean(words)
    assert _text.clean(cleaned) == cleaned
    rest = iter(words.replace("\r\n", "\n").replace("\r", "\n"))
    assert all(letter in rest for letter in cleaned)  # a subsequence
    assert cleaned.encode("utf-8").decode("utf-8") == cleaned
    assert not set(cleaned) & set("\u200b\u202e\u2066\x07\r\ud800")


@given(st.text(st.characters(codec="utf-8", categories=["L", "N", "P", "Zs"]), max_size=100))
def test_cleaning_keeps_letters_digits_and_punctuation_of_every_script(words: str) -> None:
    fillers = "\u115f\u1160\u3164\uffa0"  # Hangul fillers, which Unicode counts as letters, show nothing
    assert _text.clean(words) == "".join(letter for letter in words if letter not in fillers)


@pytest.mark.parametrize("declared", ["no-such-encoding", "ascii", "shift_jis-2", None])
def test_a_wrong_declaration_does_no_harm(declared: str | None) -> None:
    assert _text.decode("na\u00efve words".encode(), declared) == "na\u00efve words"


def test_the_limit_on_text_counts_what_a_file_gives(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("x" * 101)
    request = {"reader": "text", "path": str(tmp_path / "a.txt")}
    assert answer(request, Limits(characters=101))["documents"]
    assert answer(request, Limits(characters=100))["reason"] == TOO_LONG


SEEDS = {
    "csv": b"id,text\n1,one\n",
    "docx": docx(paragraph("one")),
    "html": b"<main><table><tr><td hidden>one<pre>x</pre></table></main>",
    "jsonl": b'{"id": 1, "text": ["one"]}\n"two"\n',
    "pdf": page(stream(shown("one"))),
    "restructuredtext": b"Title\n=====\n\n.. note:: `x`_\n   :class: y\n",
}


@pytest.mark.parametrize("name", plugins.names("document reader"))
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(edits=st.lists(st.tuples(st.integers(0, 2000), st.integers(0, 3), st.binary(max_size=6)), max_size=5))
def test_whatever_the_bytes_are_there_is_an_answer(
    tmp_path: Path, name: str, edits: list[tuple[int, int, bytes]]
) -> None:
    data = SEEDS.get(name, b"Plain *words*.\n")
    for place, length, new in edits:
        place %= len(data) + 1
        data = data[:place] + new + data[place + length :]
    (tmp_path / "file").write_bytes(data)
    found = answer({"reader": name, "path": str(tmp_path / "file")}, Limits(characters=10_000))
    json.dumps(found, ensure_ascii=False).encode("utf-8")  # can be sent
    assert ("reason" in found) != ("documents" in found)
    for _, words, _ in found.get("documents", ()):
        assert words.strip()
        assert words == _text.clean(words)
    assert found.get("detail", "").isprintable()


def test_addresses_in_memory_are_no_part_of_a_reason(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise ValueError("<object at 0x7f0011223344>\nin two lines")

    monkeypatch.setattr(plugins, "load", lambda *_: Reader((".x",), fail))  # type: ignore[arg-type]
    (tmp_path / "a.x").write_text("x")
    found = answer({"reader": "x", "path": str(tmp_path / "a.x")}, LIMITS)
    assert found == {"reason": DAMAGED, "detail": "ValueError: <object at 0x...> in two lines"}


def test_unreadable_errors_carry_both_parts() -> None:
    error = UnreadableError("reason", "detail")
    assert (error.reason, error.detail) == ("reason", "detail")
