"""Writers behind a fake server and in this process, and what they are asked to write."""

from __future__ import annotations

import io
from collections import Counter
from pathlib import Path
from typing import Any

from llama_index.core.llms import CompletionResponse, CustomLLM, LLMMetadata

from raglift.config import SynthesisConfig, WriterConfig
from raglift.journal import Journal
from raglift.progress import Progress
from raglift.synthesis.llm_build import LLMWriter, llm_writer
from raglift.synthesis.llm_writer import write_with_llm
from raglift.synthesis.writer import Written, plan
from tests import tasks
from tests.synthesis.fake_server import FakeServer, reply_to
from tests.synthesis.test_writer import CHUNKS

KEY = "sk-very-secret-1234"
PLAN = plan(CHUNKS, {"factoid": 2.0, "keyword": 1.0}, 1.0, None, 0)
TEXTS = list(dict.fromkeys((item.kind, item.text) for item in PLAN))
CALLS = sum(2 if kind == "factoid" else 1 for kind, _ in TEXTS)


def writer_for(fake: FakeServer, **settings: Any) -> LLMWriter:
    config = WriterConfig(kind="openai_like", url=fake.url, model="m", key_env="SOME_KEY", **settings)
    writer = llm_writer(SynthesisConfig(writer=config), 0)
    assert writer is not None
    return writer


def passed(llm: Any, **settings: Any) -> LLMWriter:
    writer = llm_writer(SynthesisConfig(writer=WriterConfig(kind="python", **settings)), 0, llm)
    assert writer is not None
    return writer


def run(writer: LLMWriter, path: Path, out: io.StringIO | None = None) -> tuple[list[Written], Counter[str]]:
    journal = Journal(path)
    try:
        return write_with_llm(PLAN, writer, tasks.asking(), journal, Progress(stream=out or io.StringIO()))
    finally:
        journal.close()


class Local(CustomLLM):
    """What the server would say, without a server."""

    @property
    def metadata(self) -> LLMMetadata:
        return LLMMetadata(model_name="local", num_output=64)

    def complete(self, prompt: str, formatted: bool = False, **kwargs: Any) -> CompletionResponse:
        return CompletionResponse(text=reply_to(prompt))

    def stream_complete(self, prompt: str, formatted: bool = False, **kwargs: Any) -> Any:
        raise NotImplementedError
