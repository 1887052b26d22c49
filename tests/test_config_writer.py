from __future__ import annotations

from typing import Any

import pytest

from raglift.config import WriterConfig, config_from_dict, dump_config, load_config
from raglift.errors import UserError

SERVER = {"kind": "openai_like", "url": "http://localhost:8000/v1", "model": "m"}


def read(writer: Any) -> WriterConfig | None:
    return config_from_dict({"data": {"documents": "docs"}, "synthesis": {"writer": writer}}).synthesis.writer


def test_nothing_reaches_for_a_network_unless_it_is_named() -> None:
    assert read(None) is None
    assert config_from_dict({"data": {"documents": "docs"}}).synthesis.writer is None


def test_a_writer_is_read_and_written(tmp_path: Any) -> None:
    given = {
        **SERVER,
        "url": "http://localhost:8000/v1/",
        "key_env": "OPENAI_API_KEY",
        "price_in": 0.1,
        "price_out": 1.0,
    }
    config = config_from_dict({"data": {"documents": "docs"}, "synthesis": {"writer": given}})
    writer = config.synthesis.writer
    assert writer is not None
    assert (writer.url, writer.key_env, writer.concurrency) == ("http://localhost:8000/v1", "OPENAI_API_KEY", 4)
    (tmp_path / "c.yaml").write_text(dump_config(config))
    assert load_config([tmp_path / "c.yaml"]) == config
    one = config_from_dict({"data": {"documents": "docs"}, "synthesis": {"writer": {"kind": "ollama", "model": "m"}}})
    assert one.synthesis.writer is not None
    assert one.synthesis.writer.url is None


@pytest.mark.parametrize(
    ("writer", "said"),
    [
        ({"kind": "openai_like", "url": "http://x/v1"}, "synthesis.writer.model is missing"),
        ({"kind": "openai_like", "model": "m"}, "synthesis.writer.url is missing"),
        ({"kind": "olama", "model": "m"}, "did you mean 'ollama'?"),
        ({"kind": "python", "model": "m"}, "synthesis.writer.model says nothing"),
        ({**SERVER, "url": "localhost:8000"}, "synthesis.writer.url must be an address such as"),
        ({**SERVER, "url": "http://[x"}, "synthesis.writer.url must be an address such as"),
        ({**SERVER, "url": "ftp://host/v1"}, "synthesis.writer.url must be an address such as"),
        ({**SERVER, "max_money": 1.0}, "max_money needs price_in and price_out"),
        ({**SERVER, "price_in": 1.0}, "price_in and price_out belong together"),
        ({**SERVER, "timout": 3}, "unknown key 'synthesis.writer.timout' (did you mean 'timeout'?)"),
        ({**SERVER, "concurrency": 0}, "synthesis.writer.concurrency must be greater than or equal to 1"),
        ("gpt", "synthesis.writer must be a mapping"),
    ],
)
def test_mistakes_are_named(writer: Any, said: str) -> None:
    with pytest.raises(UserError) as caught:
        read(writer)
    assert said in str(caught.value)


@pytest.mark.parametrize(
    "writer",
    [
        {**SERVER, "key_env": "sk-very-secret-1234"},
        {**SERVER, "key_env": "verysecret1234"},
        {**SERVER, "api_key": "sk-very-secret-1234"},
        {**SERVER, "url": "http://user:very-secret-1234@host/v1"},
        {**SERVER, "url": "http://host/v1?key=very-secret-1234"},
    ],
)
def test_a_key_in_the_config_is_refused_and_not_repeated(writer: Any) -> None:
    with pytest.raises(UserError) as caught:
        read(writer)
    assert "1234" not in str(caught.value)
