"""The section of the configuration that names a remote (or passed) language model as the writer of the questions."""

from __future__ import annotations

import re
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, model_validator

from raglift.config_fields import Count, Name, NotNegative, NotNegativeInt, Positive, Section, Tokens, wrong

_ENVIRONMENT = re.compile(r"[A-Z_][A-Z0-9_]{0,63}")


def _environment_name(name: str) -> str:
    # What somebody put here by mistake may be the key itself: it is not repeated.
    if not _ENVIRONMENT.fullmatch(name):
        raise wrong(
            "must be the name of an environment variable, such as OPENAI_API_KEY (capitals, digits, underscores), "
            "never the key itself"
        )
    return name


def _plain_url(url: str) -> str:
    try:
        parts = urlsplit(url)
        good = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        good = False
    if not good:
        raise wrong("must be an address such as http://localhost:8000/v1")
    if "@" in parts.netloc or parts.query or parts.fragment:
        raise wrong("must be an address without user, password, query and fragment: keys come by `key_env`")
    return url.rstrip("/")


EnvironmentName = Annotated[str, AfterValidator(_environment_name)]
Url = Annotated[str, AfterValidator(_plain_url)]


class WriterConfig(Section):
    """A language model behind LlamaIndex's interface that writes in place of `synthesis.model`. Only what `kind`,
    `url`, `model`, `chat` and `output_tokens` say decides what is written; the rest may change between two attempts."""

    kind: Literal["openai_like", "ollama", "python"]
    """An OpenAI-compatible server, Ollama, or the LlamaIndex `LLM` that is passed to `raglift.run(writer=...)`."""
    url: Url | None = None
    """The server's address, for openai_like with its version, such as http://localhost:8000/v1; Ollama's own when null.
    The passages are sent there."""
    model: Name | None = None
    """The model's name on that server."""
    key_env: EnvironmentName | None = None
    """Environment variable that holds the API key; null: no key is sent."""
    chat: bool = True
    """Whether an openai_like model is spoken to by the chat endpoint; false: by the completion endpoint."""
    output_tokens: Tokens = 256
    """Most tokens of one reply; models that reason before they answer need more."""
    concurrency: Count = 4
    """Calls under way at once."""
    timeout: Positive = 60.0
    """Seconds after which a call is given up and tried again."""
    retries: NotNegativeInt = 5
    """Further attempts after a rate limit, a time-out, a lost connection or an error of the server."""
    price_in: NotNegative | None = None
    """Price of a million prompt tokens, in any currency."""
    price_out: NotNegative | None = None
    """Price of a million reply tokens, in the same currency."""
    max_tokens: Count | None = None
    """Most tokens, prompts and replies together, over all attempts; null: no limit."""
    max_money: Positive | None = None
    """Most money over all attempts, in the prices' currency; null: no limit."""

    @model_validator(mode="after")
    def _consistent(self) -> WriterConfig:
        if self.kind == "python":
            given = [name for name in ("url", "model", "key_env") if getattr(self, name) is not None]
            if given:
                raise wrong(
                    f"synthesis.writer.{given[0]} says nothing where kind is python: the LLM object brings it", *given
                )
        elif self.model is None:
            raise wrong(f"synthesis.writer.model is missing: name the model on the {self.kind} server", "model")
        if self.kind == "openai_like" and self.url is None:
            raise wrong(
                "synthesis.writer.url is missing: give the server's address, such as http://localhost:8000/v1", "url"
            )
        if self.max_money is not None and (self.price_in is None or self.price_out is None):
            raise wrong(
                "synthesis.writer.max_money needs price_in and price_out, the prices of a million tokens", "max_money"
            )
        if (self.price_in is None) != (self.price_out is None):
            raise wrong("synthesis.writer.price_in and price_out belong together", "price_in", "price_out")
        return self
