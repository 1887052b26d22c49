"""An HTTP endpoint is asked over HTTP: retries, refusals, and a key that nothing repeats."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import raglift
from raglift import cli
from raglift.assess.endpoint import connect
from raglift.assess.replies import HopelessError
from raglift.errors import UserError
from tests.assess.conftest import SETTINGS, Rows
from tests.synthesis.fake_server import FakeServer, serving

KEY = "sk-secret-0123456789"


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeServer]:
    monkeypatch.setattr("raglift.synthesis.llm_calls.FIRST_WAIT", 0.01)
    monkeypatch.setenv("MY_KEY", KEY)
    with serving(FakeServer()) as fake:
        yield fake


def evaluate(server: FakeServer, rows: list[dict[str, Any]], **more: Any) -> Any:
    engine = connect(server.url, "my-rag", key_env="MY_KEY", retries=more.pop("retries", 2), timeout=5)
    return raglift.evaluate({"theirs": engine}, rows, settings=SETTINGS, quiet=True, **more)


def test_each_question_is_one_message_with_the_key_of_the_variable(server: FakeServer, rows: Rows) -> None:
    asked = [row | {"answer": "Sure: Answer: At 11"} for row in rows(3)]
    found = evaluate(server, asked)
    assert server.keys == {f"Bearer {KEY}"}
    assert [body["messages"] for body in server.bodies] == [
        [{"role": "user", "content": f"Where is {i}?"}] for i in range(3)
    ]
    assert {(body["path"], body["model"], body["temperature"]) for body in server.bodies} == {
        ("/v1/chat/completions", "my-rag", 0.0)
    }
    assert {s.value for s in found.scores.values if s.metric == "token_f1"} == {1.0}
    assert found.as_dict()["retrieval"] == {}
    counted = sum((reply.tokens_in or 0) + (reply.tokens_out or 0) for reply in found.answered)
    assert counted == server.tokens > 0


def test_a_system_message_comes_first(server: FakeServer) -> None:
    connect(server.url, "m", system="Be brief.").query("Why?")
    assert [message["role"] for message in server.bodies[0]["messages"]] == ["system", "user"]
    assert KEY not in str(server.keys)


def test_no_key_is_sent_that_was_not_named(server: FakeServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    connect(server.url, "m").query("Why?")
    assert server.keys == {"Bearer none"}


@pytest.mark.parametrize("trouble", [429, 500, 503, "drop"])
def test_what_may_pass_is_asked_again(server: FakeServer, rows: Rows, trouble: Any) -> None:
    server.script = [trouble, trouble, "ok"]
    found = evaluate(server, rows(1))
    assert server.requests == 3
    assert found.as_dict()["failures"] == []


def test_a_question_that_is_refused_is_none_with_the_reason_and_is_not_asked_again(
    server: FakeServer, rows: Rows
) -> None:
    server.refuse = "Where is 1?"
    found = evaluate(server, rows(3))
    (failure,) = found.as_dict()["failures"]
    assert failure["qa_id"] == "q1"
    assert "400" in failure["reason"]
    assert server.requests == 3


def test_a_server_that_fails_for_good_on_one_question_costs_one_score(server: FakeServer, rows: Rows) -> None:
    server.script = [500, 500, 500]
    found = evaluate(server, rows(3))
    assert [failure["qa_id"] for failure in found.as_dict()["failures"]] == ["q0"]
    assert server.requests == 5


@pytest.mark.parametrize(("status", "fix"), [(401, "key"), (403, "key"), (404, "URL"), (402, "top it up")])
def test_what_no_question_will_escape_stops_at_once(server: FakeServer, rows: Rows, status: int, fix: str) -> None:
    server.script = [status]
    with pytest.raises(HopelessError) as caught:
        evaluate(server, rows(5))
    assert server.requests == 1
    assert fix in caught.value.fix


def test_the_key_is_nowhere(
    server: FakeServer, rows: Rows, tmp_path: Path, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    server.echo_key = True
    server.script = ["ok", 400]
    caplog.set_level(logging.DEBUG)
    engine = connect(server.url, "m", key_env="MY_KEY", retries=0)
    found = raglift.evaluate(engine, rows(3), settings=SETTINGS, folder=tmp_path)
    assert found.as_dict()["failures"]
    assert "***" in (found.answered[0].answer or "")
    shown = capsys.readouterr()
    everywhere = [str(found.as_dict()), str(found.answered), repr(engine), shown.out, shown.err]
    everywhere += [path.read_text("utf-8") for path in tmp_path.rglob("*") if path.is_file()]
    everywhere.append(caplog.text)
    assert not any(KEY in text for text in everywhere)
    server.script = [*["ok"] * server.requests, 401]
    with pytest.raises(HopelessError) as caught:
        raglift.evaluate(engine, rows(1), settings=SETTINGS, quiet=True)
    assert KEY not in str(caught.value)
    assert caught.value.__cause__ is None


def test_the_command_goes_on_where_it_stopped(
    server: FakeServer, rows: Rows, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = tmp_path / "questions.jsonl"
    asked.write_text("".join(json.dumps(row) + "\n" for row in rows(4)), "utf-8")
    command = ["evaluate", "--endpoint", server.url, "--model", "my-rag", "--questions", str(asked)]
    command += ["--key-env", "MY_KEY", "--out", str(tmp_path / "out"), "--quiet", "--json"]
    server.script = ["ok", "ok", 401]
    assert cli.main(command) == 2
    assert "What it has answered is kept" in capsys.readouterr().err
    assert cli.main(command) == 0
    assert server.requests == 5
    found = json.loads(capsys.readouterr().out)
    assert found["response"]["questions"]["my-rag"]["token_f1"]["n"] == 4


def test_several_questions_at_once(server: FakeServer, rows: Rows) -> None:
    server.delay = 0.2
    evaluate(server, rows(8), workers=4)
    assert server.most_at_once >= 2


def test_a_key_that_is_not_set_and_an_address_that_is_none_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MY_KEY", raising=False)
    with pytest.raises(UserError, match="MY_KEY is not set"):
        connect("http://localhost:1/v1", "m", key_env="MY_KEY")
    for url in ("localhost:8000", "ftp://x", "http://"):
        with pytest.raises(UserError, match="no address"):
            connect(url, "m")
