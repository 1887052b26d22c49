"""A language model that puts passages in order by how likely it finds the question after each of them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from raglift.errors import UserError
from raglift.models.device import Runtime
from raglift.models.fused import quicken
from raglift.models.generation import Generator
from raglift.models.llm import context_window, load_causal_lm, load_tokenizer
from raglift.models.reranker import Reranker
from raglift.models.scoring import Likelihood

PROMPT = "Write a question that the following text answers. Reply with the question alone.\n\n{passage}"
_TOGETHER = 3
"""Questions of a passage from which on it is read once for all of them, in a batch of its own."""
_BATCH = 32


class LikelihoodReranker(Reranker):
    """Scores a passage by the mean log-probability of the question's tokens, given the passage.

    It learns nothing, and needs no cross-encoder. Where many questions are asked at once, a passage that several of
    them found is read once. In float32 that changes nothing; in bfloat16 the mean moves by some hundredths of a nat
    with what else is in a batch, so that passages that score nearly alike may change places.

    Args:
        generator: The language model.
        window: Tokens that it can read; of a passage that is longer the beginning counts.

    References:
        Sachan et al. 2022, "Improving Passage Retrieval with Zero-Shot Question Generation", equation 2.
        Ponte and Croft 1998, "A Language Modeling Approach to Information Retrieval".
    """

    def __init__(self, generator: Generator, window: int) -> None:
        self._generator = generator
        self._window = window

    def scores(
        self, pairs: Sequence[tuple[str, str]], advance: Callable[[int], None] = lambda _: None
    ) -> NDArray[np.float32]:
        """See `Reranker`.

        Raises:
            UserError: A question alone is longer than the model's window.
        """
        likely = self._likelihoods(pairs, advance)
        return np.array([value.mean_log_probability or 0.0 for value in likely], dtype=np.float32)

    def log_probabilities(self, pairs: Sequence[tuple[str, str]]) -> list[float]:
        """The natural logarithm of each question's whole probability, given its passage.

        Raises:
            UserError: As `scores`.
        """
        found = self._likelihoods(pairs, lambda _: None)
        return [(value.mean_log_probability or 0.0) * value.tokens for value in found]

    def _likelihoods(self, pairs: Sequence[tuple[str, str]], advance: Callable[[int], None]) -> list[Likelihood]:
        by_passage: defaultdict[str, list[int]] = defaultdict(list)
        for row, (_, passage) in enumerate(pairs):
            by_passage[passage].append(row)
        shared = [rows for rows in by_passage.values() if len(rows) >= _TOGETHER]
        single = [row for rows in by_passage.values() if len(rows) < _TOGETHER for row in rows]
        found = [Likelihood(None, 0)] * len(pairs)
        for rows in (*shared, single) if single else shared:
            prompts = [self._prompt(*pairs[row]) for row in rows]
            likely = self._generator.score(prompts, [pairs[row][0] for row in rows], advance=advance)
            for row, value in zip(rows, likely, strict=True):
                found[row] = value
        return found

    def _prompt(self, question: str, passage: str) -> str:
        """What stands before the question, with as much of the passage as there is room for."""
        prompt = self._rendered(passage)
        beyond = len(self._tokens(prompt)) + len(self._tokens(question)) - self._window
        if beyond <= 0:
            return prompt
        kept = self._tokens(passage)[: -beyond - 1]  # one more: where it is cut, two tokens may become three
        if not kept:
            raise UserError(
                "A question is too long to put passages in order.",
                f"With its prompt it leaves no room for a passage in the {self._window:,} tokens that the model reads.",
                "Shorten the question, or name a language model with a longer context as rerank.model.",
            )
        return self._rendered(str(self._generator.tokenizer.decode(kept)))

    def _tokens(self, text: str) -> list[int]:
        found: list[int] = self._generator.tokenizer.encode(text, add_special_tokens=False)
        return found

    def _rendered(self, passage: str) -> str:
        return self._generator.chat([{"role": "user", "content": PROMPT.format(passage=passage)}])


def load_likelihood_reranker(base: Path, runtime: Runtime) -> LikelihoodReranker:
    """The language model in a folder, in the run's precision, as a reranker."""
    generator = Generator(quicken(load_causal_lm(base, runtime)), load_tokenizer(base), _BATCH)
    return LikelihoodReranker(generator, context_window(base))
