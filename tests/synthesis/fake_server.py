"""An OpenAI-compatible server in a thread, that is slow, limits rates, fails and cuts as it is told to, and counts."""

from __future__ import annotations

import json
import random
import re
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass
class FakeServer:
    """What the server does, and what it saw.

    Attributes:
        script: What it does with the first requests, one entry each: a status to answer with, an error (with
            status 429, or its own `status`), "slow", "drop" or "ok".
        delay: Seconds before an answer, times a random number up to 1.
        refuse: A text; prompts that hold it are refused with status 400.
        cut: Whether every reply is cut off.
        finished: Prompts that were answered, with how often.
    """

    script: list[Any] = field(default_factory=list)
    delay: float = 0.0
    refuse: str | None = None
    cut: bool = False
    echo_key: bool = False
    usage: bool = True
    retry_after: str | None = None
    requests: int = 0
    most_at_once: int = 0
    finished: Counter[str] = field(default_factory=Counter)
    tokens: int = 0
    keys: set[str] = field(default_factory=set)
    bodies: list[dict[str, Any]] = field(default_factory=list)
    times: list[float] = field(default_factory=list)
    url: str = ""
    lock: threading.Lock = field(default_factory=threading.Lock)
    at_once: int = 0

    def begin(self) -> Any:
        """What to do with the request that begins now."""
        with self.lock:
            self.requests += 1
            self.times.append(time.monotonic())
            self.at_once += 1
            self.most_at_once = max(self.most_at_once, self.at_once)
            return self.script[self.requests - 1] if self.requests <= len(self.script) else "ok"

    def end(self) -> None:
        """The request ends."""
        with self.lock:
            self.at_once -= 1

    def count(self, prompt: str, tokens: int) -> None:
        """A prompt was answered."""
        with self.lock:
            self.finished[prompt] += 1
            self.tokens += tokens


def reply_to(prompt: str) -> str:
    """A question about the last text of the prompt, or a quote from it, in the untidy ways of chat models.

    Where there is no text, an answer of its own.
    """
    texts = re.findall(r"^Text: (.*)$", prompt, re.MULTILINE)
    if not texts:
        return f"Sure:\n**Answer:** At {len(prompt)}"
    text = texts[-1]
    words = text.split()
    if prompt.endswith("Question:"):
        return f'Sure, here is a question:\n\n**Question:** "What is said of {words[1]} {len(text)} and {words[-1]}?"'
    if prompt.endswith("Search:"):
        return f"- {words[1].lower()} {len(text)} {words[-1].lower()}"
    if prompt.endswith("Claim:"):
        return f'Here is a claim:\n\n**Claim:** "{" ".join(words[:4])} are here."'
    if prompt.endswith("Title:"):
        return f"Title: {words[1]} and {words[-1].strip('.')}"
    if prompt.endswith("About:"):
        label = re.findall(r"(\w+): ", prompt.rpartition("\n\nText: ")[0])[-1]
        end = "?" if label == "Question" else ""
        return f"<think>Hm.</think>About: what it says.\n**{label}:** Of {words[1]} {len(text)} and {words[-1]}{end}"
    return f"Answer: \u201c{' '.join(words[2:5]).upper()}.\u201d"


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    fake: FakeServer

    def log_message(self, *_: object) -> None:
        pass

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        fake = self.fake
        action = fake.begin()
        try:
            self._answer(body, action)
        finally:
            fake.end()

    def _answer(self, body: dict[str, Any], action: Any) -> None:
        fake = self.fake
        key = self.headers.get("Authorization", "")
        fake.keys.add(key)
        fake.bodies.append({"path": self.path, **body})
        prompt = body["messages"][-1]["content"] if "messages" in body else body["prompt"]
        if action == "drop":
            self.close_connection = True
            self.connection.close()
            return
        time.sleep(5.0 if action == "slow" else fake.delay * random.random())
        if fake.refuse is not None and fake.refuse in prompt:
            action = 400
        if isinstance(action, int):
            self._send(action, {"error": {"message": f"status {action} for key {key}", "type": "error", "code": None}})
            return
        if isinstance(action, dict):
            self._send(action.get("status", 429), {"error": action})
            return
        text = reply_to(prompt)
        if fake.cut:
            text = text[: len(text) // 2]
        if fake.echo_key:
            text += f"\n{key}"
        self._send(200, self._completion(body, prompt, text))

    def _completion(self, body: dict[str, Any], prompt: str, text: str) -> dict[str, Any]:
        tokens_in, tokens_out = len(prompt) // 4, len(text) // 4 + 1
        self.fake.count(prompt, tokens_in + tokens_out)
        finish = "length" if self.fake.cut else "stop"
        if self.path == "/api/chat":  # Ollama's own
            message = {"role": "assistant", "content": text}
            counts = {"prompt_eval_count": tokens_in, "eval_count": tokens_out}
            return {"model": body["model"], "message": message, "done": True, "done_reason": finish, **counts}
        chat = "messages" in body
        choice = {"message": {"role": "assistant", "content": text}} if chat else {"text": text, "logprobs": None}
        value = {
            "id": "x",
            "object": "chat.completion" if chat else "text_completion",
            "created": 0,
            "model": body["model"],
            "choices": [{"index": 0, "finish_reason": finish, **choice}],
        }
        if self.fake.usage:
            total = tokens_in + tokens_out
            value["usage"] = {
                "prompt_tokens": tokens_in,
                "completion_tokens": tokens_out,
                "total_tokens": total,
            }
        return value

    def _send(self, status: int, value: dict[str, Any]) -> None:
        data = json.dumps(value).encode()
        try:
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
            if self.fake.retry_after is not None and status == 429:
                self.send_header("Retry-After", self.fake.retry_after)
            self.end_headers()
            self.wfile.write(data)
        except OSError:  # the client has given up
            self.close_connection = True


@contextmanager
def serving(fake: FakeServer) -> Iterator[FakeServer]:
    """The server, listening on a free port of this machine while the block runs."""
    handler = type("Handler", (_Handler,), {"fake": fake})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    fake.url = f"http://127.0.0.1:{server.server_port}/v1"
    try:
        yield fake
    finally:
        server.shutdown()
        server.server_close()
