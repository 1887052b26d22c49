"""Against a server of our own that is slow, limits rates, fails, cuts and counts; and against objects."""

from __future__ import annotations

import asyncio
import io
import signal
import threading
import time
from collections import Counter
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from llama_index.core.llms import CompletionResponse, MockLLM
from llama_index.llms.openai_like import OpenAILike

from raglift.config import SynthesisConfig, WriterConfig
from raglift.errors import UserError
from raglift.synthesis import llm_calls
from raglift.synthesis.llm_build import llm_writer
from raglift.synthesis.llm_tasks import CUT, REFUSED
from raglift.synthesis.writer import Written
from tests.synthesis.fake_server import FakeServer, serving
from tests.synthesis.llm_writing import CALLS, KEY, PLAN, TEXTS, Local, passed, run, writer_for

pytestmark = pytest.mark.usefixtures("quick")


def test_what_is_written(fake: FakeServer, tmp_path: Path, expected: list[Written]) -> None:
    fake.delay = 0.03
    out = io.StringIO()
    written, notes = run(writer_for(fake, concurrency=8), tmp_path / "j.jsonl", out)
    assert written == expected
    assert [item.assignment for item in written] == PLAN
    assert not notes
    for item in written:
        if item.assignment.kind == "factoid":
            assert item.question.startswith("What is said of ")
            assert item.question.endswith("?")
            assert item.answer in item.assignment.text
            assert len(item.answer.split()) == 3
        else:
            assert item.answer == ""
            assert item.question
    assert fake.requests == CALLS == sum(fake.finished.values())
    assert fake.keys == {f"Bearer {KEY}"}
    assert {body["path"] for body in fake.bodies} == {"/v1/chat/completions"}
    assert all((body["model"], body["temperature"], body["max_tokens"]) == ("m", 0.0, 256) for body in fake.bodies)
    assert f"{CALLS} calls for {len(TEXTS)} questions" in out.getvalue()
    assert f"{fake.tokens:,} tokens" in out.getvalue()  # as the server counts


@pytest.mark.parametrize("concurrency", [1, 3])
def test_calls_at_once(fake: FakeServer, tmp_path: Path, concurrency: int, expected: list[Written]) -> None:
    fake.delay = 0.03
    assert run(writer_for(fake, concurrency=concurrency), tmp_path / "j.jsonl")[0] == expected
    assert fake.most_at_once == concurrency


def test_the_completion_endpoint(fake: FakeServer, tmp_path: Path, expected: list[Written]) -> None:
    assert run(writer_for(fake, chat=False), tmp_path / "j.jsonl")[0] == expected
    assert {body["path"] for body in fake.bodies} == {"/v1/completions"}


def test_ollama(fake: FakeServer, tmp_path: Path, expected: list[Written]) -> None:
    config = WriterConfig(kind="ollama", url=fake.url.removesuffix("/v1"), model="m", max_tokens=100_000)
    writer = llm_writer(SynthesisConfig(writer=config), 0)
    assert writer is not None
    fake.script = [503, "drop"]
    out = io.StringIO()
    assert run(writer, tmp_path / "j.jsonl", out)[0] == expected
    assert fake.requests == CALLS + 2
    assert {body["path"] for body in fake.bodies} == {"/api/chat"}
    assert fake.bodies[0]["options"]["num_predict"] == 256
    assert f"{fake.tokens:,} tokens" in out.getvalue()
    fake.cut = True
    assert run(writer, tmp_path / "k.jsonl")[1][CUT] == len(TEXTS)


def test_what_passes_is_tried_again(fake: FakeServer, tmp_path: Path, expected: list[Written]) -> None:
    fake.script = [429, 500, "ok", 503, "drop", 429, "ok", 502, 408]
    out = io.StringIO()
    assert run(writer_for(fake), tmp_path / "j.jsonl", out)[0] == expected
    assert fake.requests == CALLS + 7
    assert set(fake.finished.values()) == {1}
    assert out.getvalue().count("such calls are repeated") == 1


def test_the_wait_grows_and_minds_what_the_server_asks(
    fake: FakeServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(llm_calls, "FIRST_WAIT", 0.1)
    fake.script = [500, 500, 500]
    run(writer_for(fake, concurrency=1), tmp_path / "j.jsonl")
    gaps = [after - before for before, after in zip(fake.times, fake.times[1:4], strict=False)]
    assert [low <= gap < low + 0.6 for low, gap in zip((0.1, 0.2, 0.4), gaps, strict=True)] == [True] * 3
    with serving(FakeServer(script=[429], retry_after="0.9")) as asking:
        run(writer_for(asking, concurrency=1), tmp_path / "k.jsonl")
        assert asking.times[1] - asking.times[0] >= 0.9


def test_a_slow_call_is_given_up_tried_again_and_counted(
    fake: FakeServer, tmp_path: Path, expected: list[Written]
) -> None:
    fake.script = ["ok", "slow"]
    out = io.StringIO()
    began = time.monotonic()
    assert run(writer_for(fake, timeout=0.5), tmp_path / "j.jsonl", out)[0] == expected
    assert time.monotonic() - began < 5
    assert "timed out 0" in (tmp_path / "j.jsonl").read_text()
    assert f"{fake.tokens:,} tokens" not in out.getvalue()  # more than the answers that came


def test_a_server_that_stays_away_stops_the_run_and_what_is_written_stays(
    fake: FakeServer, tmp_path: Path, expected: list[Written]
) -> None:
    fake.script = ["ok"] * 10 + [503] * 100
    with pytest.raises(UserError, match="does not answer, after 3 attempts"):
        run(writer_for(fake, retries=2), tmp_path / "j.jsonl")
    assert sum(fake.finished.values()) == 10
    fake.script = []
    assert run(writer_for(fake), tmp_path / "j.jsonl")[0] == expected
    assert set(fake.finished.values()) == {1}


@pytest.mark.parametrize(
    ("action", "fix"),
    [(401, "key_env"), (404, "url and model"), ({"message": "x", "code": "insufficient_quota"}, "top it up")],
)
def test_what_does_not_pass_is_not_tried_again(fake: FakeServer, tmp_path: Path, action: Any, fix: str) -> None:
    fake.script = [action] * 100
    with pytest.raises(UserError, match="failed") as caught:
        run(writer_for(fake, concurrency=2), tmp_path / "j.jsonl")
    assert fix in caught.value.fix
    assert fake.requests <= 2


def test_nobody_listens(tmp_path: Path) -> None:
    config = WriterConfig(kind="openai_like", url="http://127.0.0.1:9/v1", model="m", retries=1)
    writer = llm_writer(SynthesisConfig(writer=config), 0)
    assert writer is not None
    with pytest.raises(UserError, match=r"m at http://127\.0\.0\.1:9/v1 does not answer"):
        run(writer, tmp_path / "j.jsonl")


@pytest.mark.parametrize("concurrency", [1, 8])
def test_one_refused_prompt_does_not_stop_the_others(
    fake: FakeServer, tmp_path: Path, concurrency: int, expected: list[Written]
) -> None:
    bad = PLAN[0].text  # the very first one
    fake.refuse = f"Text: {bad}\n"
    written, notes = run(writer_for(fake, concurrency=concurrency), tmp_path / "j.jsonl")
    assert written == [item for item in expected if item.assignment.text != bad]
    assert notes[REFUSED] == 1
    requests = fake.requests
    assert run(writer_for(fake), tmp_path / "j.jsonl") == (written, notes)
    assert fake.requests == requests


def test_a_server_that_refuses_everything_is_another_matter(fake: FakeServer, tmp_path: Path) -> None:
    fake.refuse = "Text: "
    with pytest.raises(UserError, match="takes none of the prompts"):
        run(writer_for(fake, concurrency=2), tmp_path / "j.jsonl")
    assert fake.requests < 10
    assert (tmp_path / "j.jsonl").read_text() == ""


EMPTY = {"status": 400, "message": "Your credit balance is too low to access the API", "type": "invalid_request_error"}


@pytest.mark.parametrize("empty", [EMPTY, {**EMPTY, "status": 403}, {"status": 402, "message": "Payment Required"}])
def test_an_account_that_runs_dry_costs_no_question(
    fake: FakeServer, tmp_path: Path, expected: list[Written], empty: dict[str, Any]
) -> None:
    fake.script = ["ok"] * 9 + [empty] * 100
    with pytest.raises(UserError, match="failed") as caught:
        run(writer_for(fake, concurrency=2), tmp_path / "j.jsonl")
    assert "top it up" in caught.value.fix
    assert fake.requests <= 11
    assert "refused" not in (tmp_path / "j.jsonl").read_text()
    fake.script = []
    assert run(writer_for(fake), tmp_path / "j.jsonl") == (expected, Counter())
    assert set(fake.finished.values()) == {1}


def test_a_few_refusals_in_a_row_stop_nothing_once_a_prompt_was_taken(
    fake: FakeServer, tmp_path: Path, expected: list[Written]
) -> None:
    fake.script = ["ok"] * 2 + [400] * 20
    written, notes = run(writer_for(fake, concurrency=1), tmp_path / "j.jsonl")
    assert notes[REFUSED] == 20
    assert set(written) < set(expected)


@pytest.mark.parametrize("again", [0, 20])
def test_what_an_earlier_attempt_took_counts(
    fake: FakeServer, tmp_path: Path, expected: list[Written], again: int
) -> None:
    fake.script = ["ok", 401]  # a question without its answer: no text is done
    with pytest.raises(UserError, match="failed"):
        run(writer_for(fake, concurrency=1), tmp_path / "j.jsonl")
    fake.script += [400] * again
    assert run(writer_for(fake, concurrency=1), tmp_path / "j.jsonl")[1][REFUSED] == again


def test_many_refusals_in_a_row_stop_the_run_and_cost_no_question(
    fake: FakeServer, tmp_path: Path, expected: list[Written]
) -> None:
    fake.script = ["ok"] * 9 + [400] * 100
    with pytest.raises(UserError, match="took prompts before and has now refused 25 in a row") as caught:
        run(writer_for(fake, concurrency=1), tmp_path / "j.jsonl")
    assert "status 400" in caught.value.why
    assert "same command again" in caught.value.fix
    assert fake.requests == 9 + 25
    assert "refused" not in (tmp_path / "j.jsonl").read_text()
    fake.script = []
    assert run(writer_for(fake), tmp_path / "j.jsonl") == (expected, Counter())
    assert set(fake.finished.values()) == {1}


def test_prompts_that_are_refused_for_ever_are_passed_over(
    fake: FakeServer, tmp_path: Path, expected: list[Written]
) -> None:
    fake.script = ["ok"] * 2 + [400] * 25
    for attempt in range(2):  # the same prompts are refused in the second attempt
        with pytest.raises(UserError, match="25 in a row") if attempt == 0 else nullcontext():
            written, notes = run(writer_for(fake, concurrency=1), tmp_path / "j.jsonl")
        fake.script = ["ok"] * 27 + [400] * 26
    assert notes[REFUSED] == 26  # one of them for the first time
    assert len(expected) - 26 <= len(written) < len(expected)
    assert set(written) <= set(expected) | {replace(item, answer="") for item in expected}


def test_replies_that_are_cut_off(fake: FakeServer, tmp_path: Path) -> None:
    fake.cut = True
    out = io.StringIO()
    written, notes = run(writer_for(fake), tmp_path / "j.jsonl", out)
    assert notes[CUT] == len(TEXTS)
    assert not any(item.answer for item in written)
    assert "raise synthesis.writer.output_tokens" in out.getvalue()


def test_ctrl_c_keeps_what_is_there(fake: FakeServer, tmp_path: Path, expected: list[Written]) -> None:
    fake.delay = 0.05
    main = threading.main_thread().ident
    assert main is not None

    def interrupt() -> None:
        while sum(fake.finished.values()) < 15:
            time.sleep(0.005)
        signal.pthread_kill(main, signal.SIGINT)

    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs ignore it
    threading.Thread(target=interrupt, daemon=True).start()
    try:
        with pytest.raises(KeyboardInterrupt):
            run(writer_for(fake), tmp_path / "j.jsonl")
    finally:
        signal.signal(signal.SIGINT, before)
    lines = len((tmp_path / "j.jsonl").read_text().splitlines())
    assert 10 <= lines < CALLS
    assert "timed out 0" in (tmp_path / "j.jsonl").read_text()  # what was under way may be billed: it counts in full
    time.sleep(0.2)
    assert len((tmp_path / "j.jsonl").read_text().splitlines()) == lines  # nothing goes on behind our back
    assert run(writer_for(fake), tmp_path / "j.jsonl")[0] == expected
    assert fake.requests <= CALLS + 4  # those that were under way


def test_no_key_in_errors_messages_and_files(fake: FakeServer, tmp_path: Path) -> None:
    out = io.StringIO()
    fake.script = [503, "ok", "ok", 401]
    with pytest.raises(UserError) as caught:
        run(writer_for(fake, concurrency=1), tmp_path / "j.jsonl", out)
    assert "status 401 for key Bearer ***" in caught.value.why
    assert caught.value.__context__ is None
    fake.echo_key = True
    run(writer_for(fake), tmp_path / "j.jsonl", out)
    for text in (str(caught.value), repr(caught.value), out.getvalue(), (tmp_path / "j.jsonl").read_text()):
        assert KEY not in text
    assert "status 503 for key Bearer ***" in out.getvalue()


def test_the_same_object_may_write_in_a_second_run(fake: FakeServer, tmp_path: Path, expected: list[Written]) -> None:
    llm = OpenAILike(model="m", api_base=fake.url, api_key=KEY, is_chat_model=True, max_tokens=64, max_retries=0)
    for name in ("one", "two"):
        assert run(passed(llm), tmp_path / name)[0] == expected
    assert fake.requests == 2 * CALLS


def test_it_works_inside_of_a_running_event_loop(tmp_path: Path, expected: list[Written]) -> None:
    async def notebook() -> list[Written]:
        return run(passed(Local()), tmp_path / "j.jsonl")[0]

    assert asyncio.run(notebook()) == expected


def test_an_object_that_copies_its_prompt_writes_what_the_filters_can_drop(tmp_path: Path) -> None:
    written, _ = run(passed(MockLLM()), tmp_path / "j.jsonl")
    assert [item.assignment for item in written] == PLAN
    assert all(item.answer in item.assignment.text for item in written)


def test_an_object_that_fails(tmp_path: Path) -> None:
    class Broken(Local):
        service_token: str = KEY

        def complete(self, prompt: str, formatted: bool = False, **kwargs: Any) -> CompletionResponse:
            raise ValueError(f"no such layer, {KEY}")

    with pytest.raises(UserError, match="Broken local failed") as caught:
        run(passed(Broken()), tmp_path / "j.jsonl")
    assert caught.value.why == "ValueError: no such layer, ***"
