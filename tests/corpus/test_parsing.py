"""The child process, its limits, and reading a folder or a list through it."""

from __future__ import annotations

import http.server
import json
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

import pytest

from raglift.child import Child
from raglift.config import Config, ReadingConfig, config_from_dict
from raglift.corpus import documents, stage
from raglift.corpus.documents import LeftOut, read
from raglift.corpus.parsing import Parser
from raglift.corpus.readers._reader import TOO_HUNGRY, TOO_LARGE, TOO_SLOW, Limits
from raglift.errors import UserError
from raglift.job import Job
from raglift.progress import Progress
from tests.corpus.builders import page, stream


def _text(path: Path, words: str) -> dict[str, str]:
    path.write_text(words, "utf-8")
    return {"reader": "text", "path": str(path)}


def test_the_defaults_of_the_configuration_are_those_of_python() -> None:
    assert Limits(**ReadingConfig().model_dump()) == Limits()


def test_one_child_reads_many_files_and_none_is_started_without_need(tmp_path: Path) -> None:
    with Parser(Limits()) as parser:
        assert parser._child is None
        parser.parse(_text(tmp_path / "a.txt", "one"))
        child = parser._child
        assert parser.parse(_text(tmp_path / "a.txt", "two"))["documents"] == [["", "two", {}]]
        assert parser._child is child
    assert parser._child is None
    assert child is not None
    assert child._process.poll() is not None


def test_a_child_that_dies_is_replaced_and_the_file_gets_another_try(tmp_path: Path) -> None:
    request = _text(tmp_path / "a.txt", "one")
    with Parser(Limits()) as parser:
        first = parser.parse(request)
        assert parser._child is not None
        parser._child._process.kill()
        parser._child._process.wait()
        assert parser.parse(request) == first


def test_a_file_that_crashes_a_fresh_child_is_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    request = _text(tmp_path / "a.txt", "one")
    with Parser(Limits()) as parser:
        start = parser._start

        def dying() -> Child:
            child = start()
            child._process.kill()
            child._process.wait()
            return child

        monkeypatch.setattr(parser, "_start", dying)
        crashed = {"reason": "its parser crashed", "detail": "It ended with SIGKILL."}
        assert parser.parse(request) == crashed
        monkeypatch.undo()
        assert parser.parse(request)["documents"]


def test_the_same_limit_holds_after_other_files(tmp_path: Path) -> None:
    with (tmp_path / "large.txt").open("wb") as file:
        file.truncate(300_000_000)
    large = {"reader": "text", "path": str(tmp_path / "large.txt")}
    with Parser(Limits(memory_mb=250, file_mb=1000)) as parser:
        small = parser.parse(_text(tmp_path / "a.txt", "one"))
        assert [parser.parse(large)["reason"] for _ in range(2)] == [TOO_HUNGRY] * 2
        assert parser.parse(_text(tmp_path / "a.txt", "one")) == small


def test_a_file_that_takes_too_long_is_stopped(tmp_path: Path) -> None:
    (tmp_path / "a.pdf").write_bytes(page(stream(b"BT /F 12 Tf " + b"(text) Tj " * 1_500_000 + b"ET")))
    with Parser(Limits(seconds=0.3)) as parser:
        slow = parser.parse({"reader": "pdf", "path": str(tmp_path / "a.pdf")})
        assert slow == {"reason": TOO_SLOW, "detail": ""}
        assert parser.parse(_text(tmp_path / "a.txt", "one"))["documents"]


def test_a_file_that_needs_too_much_memory_is_stopped(tmp_path: Path) -> None:
    with (tmp_path / "a.txt").open("wb") as file:
        file.truncate(300_000_000)
    with Parser(Limits(memory_mb=250, file_mb=1000)) as parser:
        hungry = parser.parse({"reader": "text", "path": str(tmp_path / "a.txt")})
        assert hungry == {"reason": TOO_HUNGRY, "detail": ""}
        assert parser.parse(_text(tmp_path / "b.txt", "one"))["documents"]


@pytest.mark.parametrize("program", ["false", "no-such-program"])
def test_a_child_that_does_not_start_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, program: str) -> None:
    monkeypatch.setattr(sys, "executable", program)
    with Parser(Limits()) as parser, pytest.raises(UserError, match="cannot be started") as caught:
        parser.parse(_text(tmp_path / "a.txt", "one"))
    assert caught.value.why
    assert "reading.memory_mb" in caught.value.fix


def test_the_child_cannot_write_files(tmp_path: Path) -> None:
    code = "import sys; from raglift import confined; "
    code += f"confined.restrict(1024); open({str(tmp_path / 'x')!r}, 'w').write('x' * 9999)"
    pytest.importorskip("resource")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "File too large" in done.stderr


def test_a_thousand_small_files_take_no_time(tmp_path: Path) -> None:
    for number in range(1000):
        (tmp_path / f"{number}.txt").write_text(f"file {number} " * 50)
    shown: list[str] = []
    display = Progress(quiet=True)
    display.say = shown.append  # type: ignore[method-assign]
    began = time.monotonic()
    reading = read(str(tmp_path), display=display)
    assert time.monotonic() - began < 10  # 0.3 on an idle machine; a child a file would take a minute
    assert [d.source for d in reading.documents] == sorted(f"{number}.txt" for number in range(1000))
    assert shown[0] == "reading documents: 1,000 files"
    assert reading == read(str(tmp_path))


def test_a_file_that_fails_is_counted_warned_about_and_stored(tmp_path: Path) -> None:
    folder = tmp_path / "docs"
    folder.mkdir()
    for number in range(4):
        (folder / f"{number}.txt").write_text(f"Document {number} speaks of the number {number} and of nothing else.")
    (folder / "bad.pdf").write_bytes(b"no")
    (folder / "bad.jsonl").write_bytes(b"{")
    (folder / "blank.md").write_bytes(b"")
    config = config_from_dict({"data": {"documents": str(folder)}})
    said: list[str] = []
    display = Progress(quiet=True)
    display.warn = said.append  # type: ignore[method-assign]
    reading, questions = stage.read_sources(config, display)
    assert [item.source for item in reading.left_out] == ["bad.jsonl", "bad.pdf", "blank.md"]
    assert said == [f"Left out {item}" for item in reading.left_out[:2]]
    out = tmp_path / "out"
    out.mkdir()
    stage.build(config, reading, questions, Job(out, 0, Progress(quiet=True)))
    rows = {row["reason"]: row["count"] for row in json.loads((out / "funnel.json").read_text())}
    assert rows["file left out: damaged, or not of its format"] == 2
    assert rows["file left out: empty"] == 1
    assert rows["documents read"] == 4
    stored = [json.loads(line) for line in (out / "left_out.jsonl").read_text().splitlines()]
    assert [LeftOut(**row) for row in stored] == reading.left_out


def test_many_warnings_are_cut_short(tmp_path: Path) -> None:
    for number in range(15):
        (tmp_path / f"{number}.pdf").write_bytes(b"no")
    (tmp_path / "a.txt").write_text("fine")
    said: list[str] = []
    read(str(tmp_path)).warn(said.append)
    assert len(said) == 11
    assert "5 more" in said[-1]


def test_it_is_an_error_if_every_file_fails(tmp_path: Path) -> None:
    (tmp_path / "a.pdf").write_bytes(b"no")
    (tmp_path / "b.txt").write_bytes(bytes(100))
    with pytest.raises(UserError, match="Nothing in the folder") as caught:
        read(str(tmp_path))
    assert "a.pdf: damaged" in caught.value.why
    assert "b.txt: not text" in caught.value.why


def test_the_questions_are_no_document(tmp_path: Path) -> None:
    (tmp_path / "a.md").write_text("Text.")
    questions = tmp_path / "questions.jsonl"
    questions.write_text('{"id": 1, "question": "What?", "answer": "secret"}')
    config = config_from_dict({"data": {"documents": str(tmp_path), "questions": str(questions)}})
    reading, asked = stage.read_sources(config)
    found = reading.documents
    assert [d.source for d in found] == ["a.md"]
    assert len(asked) == 1


def test_the_review_of_a_run_is_no_document(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.md").write_text("Text.")
    (tmp_path / "review.csv").write_text("id,question,verdict\nq-1,What?,reject\n")
    monkeypatch.setenv("HOME", str(tmp_path))
    for review in (str(tmp_path / "review.csv"), "~/review.csv"):
        values = {"data": {"documents": str(tmp_path)}, "synthesis": {"review": review}}
        assert [d.source for d in stage.read_sources(config_from_dict(values))[0].documents] == ["a.md"]


def test_what_runs_write_is_no_document(tmp_path: Path) -> None:
    (tmp_path / "a.md").write_text("Text.")
    (tmp_path / "indexes" / "synthesis").mkdir(parents=True)
    (tmp_path / "indexes" / "synthesis" / "questions.jsonl").write_text('{"question": "What?"}')
    values = {"workspace": str(tmp_path / "indexes"), "data": {"documents": str(tmp_path)}}
    assert [d.source for d in stage.read_sources(config_from_dict(values))[0].documents] == ["a.md"]
    with pytest.raises(UserError, match="same folder"):
        stage.read_sources(config_from_dict({**values, "workspace": str(tmp_path)}))
    inner = {"workspace": str(tmp_path), "data": {"documents": str(tmp_path / "indexes")}}
    assert len(stage.read_sources(config_from_dict(inner))[0].documents) == 1  # as documents


class _Site(http.server.BaseHTTPRequestHandler):
    PAGES: ClassVar = {
        "/a.html": ("text/html; charset=windows-1252", "<p>caf\u00e9</p>".encode("cp1252")),
        "/b.md": ("text/plain", b"# Title"),
        "/c": ("application/jsonl", b'{"id": "x", "text": "row"}'),
        "/d.png": ("image/png", b"\x89PNG"),
        "/large.txt": ("text/plain", b"x" * 1_100_000),
    }

    def do_GET(self) -> None:
        moved = {"/moved": "/b.md", "/file": "file:///etc/passwd", "/loop": "/loop"}
        if self.path in moved:
            self.send_response(302)
            self.send_header("Location", moved[self.path])
            self.end_headers()
            return
        if self.path not in self.PAGES:
            self.send_error(404)
            return
        kind, data = self.PAGES[self.path]
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def site(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Site) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()
        thread.join()


def test_a_list_of_addresses_is_read_in_its_order(tmp_path: Path, site: str) -> None:
    wrong = ["ftp://x.org/a", "file:///etc/passwd", "http://user:pass@x.org/", "words", "http://[x/", "http://x:99999/"]
    paths = ["/c", "/b.md", "/a.html", "/b.md", "/moved", "/d.png", "/none", "/file", "/loop", "/large.txt"]
    lines = ["# a comment", "", *(site + path for path in paths), *wrong]
    (tmp_path / "pages.urls").write_text("\n".join(lines))
    reading = read(str(tmp_path / "pages.urls"), Limits(file_mb=1), network=True)
    assert [(d.source, d.text) for d in reading.documents] == [
        (f"{site}/c#x", "row"),
        (f"{site}/b.md", "# Title"),
        (f"{site}/a.html", "caf\u00e9"),
        (f"{site}/moved", "# Title"),
    ]
    reasons = {item.source.removeprefix(site): item.reason for item in reading.left_out}
    assert reasons == {
        "/d.png": "no format that is read",
        "/none": "could not be fetched",
        "/file": "could not be fetched",
        "/loop": "could not be fetched",
        "/large.txt": TOO_LARGE,
        **dict.fromkeys(wrong, "not an address"),
    }


def test_nothing_is_fetched_unless_the_network_is_allowed(tmp_path: Path) -> None:
    (tmp_path / "pages.urls").write_text("http://127.0.0.1:9/")
    config: Config = config_from_dict({"data": {"documents": str(tmp_path / "pages.urls")}})
    with pytest.raises(UserError, match="network is off") as caught:
        stage.read_sources(config)
    assert "data.network" in caught.value.fix


def test_a_list_without_addresses_is_refused(tmp_path: Path) -> None:
    (tmp_path / "pages.urls").write_text("# nothing\n")
    with pytest.raises(UserError, match="holds no text") as caught:
        read(str(tmp_path / "pages.urls"), network=True)
    assert caught.value.why == "It names no address."


def test_a_list_that_is_no_text_is_refused(tmp_path: Path) -> None:
    (tmp_path / "pages.urls").write_bytes(b"\xff\xfe\xff")
    with pytest.raises(UserError, match="cannot be read"):
        read(str(tmp_path / "pages.urls"), network=True)


def test_a_new_format_is_one_new_file() -> None:
    assert set(documents._readers().values()) == set(documents.plugins.names("document reader"))
