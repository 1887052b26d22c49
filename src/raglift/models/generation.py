"""Batched text generation: sorted by length, a shared prefix computed once, stopped at a line end."""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import cached_property, partial

import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from raglift.errors import UserError
from raglift.models.bottleneck import using
from raglift.models.chat import render_chat
from raglift.models.choosing import Allowed, Sampling, chooser, recording, row_seed
from raglift.models.decoding import decode
from raglift.models.extraction import SpanConstraint
from raglift.models.lanes import lane_count, side_by_side
from raglift.models.prefixes import Prefixes
from raglift.models.scoring import Likelihood, likelihoods, next_of_groups

__all__ = ["Extract", "Generator", "Likelihood", "Sample", "Sampling"]


@dataclass(frozen=True, slots=True)
class Extract:
    """A text to copy from, and the words with which the copy does not begin."""

    text: str
    avoid: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Sample:
    """A continuation, and the natural logarithm of the probability that the model gives to it (at temperature 1)."""

    text: str
    log_probability: float


class Generator:
    """A causal language model and its tokenizer, for many prompts at once.

    Greedy choice is the model's own likeliest token; of the model's generation config only the end tokens are heeded.

    Args:
        model: In evaluation mode, on its device and in its precision.
        tokenizer: Its tokenizer.
        batch_size: Rows that are written at once.
    """

    def __init__(self, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, batch_size: int = 32) -> None:
        self.model = model
        self.tokenizer = tokenizer
        self.batch_size = batch_size
        self.prefixes = Prefixes(model)
        self._acting: Callable[[], AbstractContextManager[None]] = nullcontext

    def with_adapter(self, name: str | None) -> Generator:
        """This generator, on the same weights, with the named adapter of its model acting whatever acts elsewhere."""
        found = copy.copy(self)
        found._acting = partial(using, self.model, name)
        return found

    @cached_property
    def _line_ends(self) -> frozenset[int]:
        return frozenset(i for token, i in self.tokenizer.get_vocab().items() if "Ċ" in token or "\n" in token)

    def _holding(self, character: str) -> frozenset[int]:
        return frozenset(i for token, i in self.tokenizer.get_vocab().items() if character in token)

    @cached_property
    def _ends(self) -> frozenset[int]:
        config = getattr(self.model, "generation_config", None) or self.model.config
        ends = getattr(config, "eos_token_id", None)
        return frozenset([ends] if isinstance(ends, int) else ends or [])

    def chat(self, messages: Sequence[dict[str, str]]) -> str:
        """The messages as the model's chat template renders them, up to where the answer begins."""
        return render_chat(self.tokenizer, messages)

    def generate(
        self,
        prompts: Sequence[str],
        sampling: Sampling,
        *,
        prefix: str = "",
        extract_from: Sequence[Extract] | None = None,
        advance: Callable[[int], None] = lambda _: None,
    ) -> list[str]:
        """The continuation of each prompt, special tokens removed, in the order given.

        Args:
            prompts: Rendered prompts; special tokens are read where they are written and none are added.
            prefix: Text before every prompt; its keys and values are computed once and kept for the next call.
            extract_from: For each prompt, the text of which its continuation must be a run of tokens.
            advance: Told how many more prompts are done.

        Raises:
            UserError: A prompt is empty, and so is the prefix.
        """
        with self._acting():
            found = self._generate(prompts, sampling, 1, prefix, extract_from, advance, record=False)
        return [samples[0].text for samples in found]

    def generate_samples(
        self,
        prompts: Sequence[str],
        sampling: Sampling,
        samples: int,
        *,
        prefix: str = "",
        extract_from: Sequence[Extract] | None = None,
        advance: Callable[[int], None] = lambda _: None,
    ) -> list[list[Sample]]:
        """Several continuations of each prompt, which is read once for all of them.

        The first sample is what `generate` gives, and the others do not change when there are more of them.

        Args:
            samples: Continuations a prompt.

        Raises:
            UserError: The temperature is 0, at which all samples would be one; or as for `generate`.
        """
        if samples < 1 or (samples > 1 and sampling.temperature <= 0):
            raise UserError(
                f"{samples} samples of a prompt cannot be drawn at temperature {sampling.temperature}.",
                "At temperature 0 there is one continuation, the likeliest; there is at least one sample.",
                "Set a temperature above 0, or ask for one sample.",
            )
        with self._acting():
            return self._generate(prompts, sampling, samples, prefix, extract_from, advance, record=True)

    @torch.inference_mode()
    def score(
        self,
        prompts: Sequence[str],
        continuations: Sequence[str],
        *,
        prefix: str = "",
        advance: Callable[[int], None] = lambda _: None,
    ) -> list[Likelihood]:
        """How likely the model finds each continuation after its prompt.

        Prompt and continuation are tokenised apart, so that a continuation's tokens do not depend on its prompt.

        Args:
            prefix: Text before every prompt, as in `generate`.
            advance: Told how many more continuations are done.

        Raises:
            UserError: A prompt is empty, and so is the prefix.
        """
        encoded = self._encode(prompts)
        following = self._encode(continuations)
        with self._acting():
            begin, own = self.prefixes.split(self._encode([prefix])[0], encoded)
            return likelihoods(begin, own, following, self.batch_size, self.model.device, advance)

    @torch.inference_mode()
    def score_texts(self, texts: Sequence[str], *, advance: Callable[[int], None] = lambda _: None) -> list[Likelihood]:
        """How likely the model finds each text from its second token on, given those before: the negative of the loss
        that transformers computes of a text that is its own label.

        A text is read as the tokenizer encodes it, with the special tokens that it adds.

        Args:
            advance: Told how many more texts are done.

        Raises:
            UserError: A text is empty.
        """
        encoded = [list(self.tokenizer(text)["input_ids"]) for text in texts]
        with self._acting():
            begin, own = self.prefixes.split([], [ids[:1] for ids in encoded])
            following = [ids[1:] for ids in encoded]
            return likelihoods(begin, own, following, self.batch_size, self.model.device, advance)

    @torch.inference_mode()
    def score_labels(
        self,
        prompts: Sequence[str],
        labels: Sequence[Sequence[str]],
        *,
        advance: Callable[[int], None] = lambda _: None,
    ) -> list[tuple[float, ...]]:
        """The logarithm of the probability that a reply to each prompt begins with each label: one value a label.

        A label is known by the first token of its spellings; tokens that two labels share count for neither.

        Args:
            labels: The spellings of each label, such as ("Yes", " yes").
            advance: Told how many more prompts are done.

        Raises:
            UserError: A prompt is empty, or two labels begin with the same tokens alone.
        """
        first = [{ids[0] for ids in self._encode(spellings) if ids} for spellings in labels]
        groups = [sorted(own - set().union(*first[:place], *first[place + 1 :])) for place, own in enumerate(first)]
        if not all(groups):
            names = ", ".join(repr(spellings[0]) for spellings in labels)
            raise UserError(
                f"The model cannot tell the labels {names} apart by their first token.",
                "Its tokenizer begins them alike.",
                "Use a language model with another tokenizer.",
            )
        with self._acting():
            begin, own = self.prefixes.split([], self._encode(prompts))
            return next_of_groups(begin, own, groups, self.batch_size, self.model.device, advance)

    @torch.inference_mode()
    def _generate(
        self,
        prompts: Sequence[str],
        sampling: Sampling,
        samples: int,
        prefix: str,
        extract_from: Sequence[Extract] | None,
        advance: Callable[[int], None],
        record: bool,
    ) -> list[list[Sample]]:
        encoded = self._encode(prompts)
        seeds = list(_seeds(encoded, sampling.seed, samples))
        begin, own = self.prefixes.split(self._encode([prefix])[0], encoded)
        order = sorted(range(len(prompts)), key=lambda row: (-len(own[row]), row))
        size = self._rows_at_once(len(prompts), samples)
        found: list[list[Sample]] = [[] for _ in prompts]
        ends = self._ends | (self._holding(sampling.until) if sampling.until else frozenset[int]())
        ends |= self._line_ends if sampling.line else frozenset[int]()

        def written(rows: list[int]) -> list[Sample]:
            allowed = None
            if extract_from is not None:
                allowed = self._constraint([extract_from[row] for row in rows for _ in range(samples)], sampling)
            choose = chooser(sampling, [seed for row in rows for seed in seeds[row]], allowed)
            batch = begin()
            logits = batch.read([own[row] for row in rows], sampling.max_new_tokens)[:, -1]
            batch.spread(samples)
            logits = logits.repeat_interleave(samples, dim=0)
            sums = [0.0] * len(logits)
            if record:
                choose = recording(choose, sums, self._ends | self._line_ends)
            texts = self._texts(decode(batch, logits, choose, ends, sampling.max_new_tokens), sampling)
            return list(map(Sample, texts, sums))

        batches = _dealt(order, size, lane_count(self.model.device))
        for rows, drawn in side_by_side(written, batches, self.model.device):
            for place, row in enumerate(rows):
                found[row] = drawn[place * samples : (place + 1) * samples]
            advance(len(rows))
        return found

    def _rows_at_once(self, prompts: int, samples: int) -> int:
        """Prompts in a batch, so that no lane is without work while another writes the last one."""
        most, lanes = max(1, self.batch_size // samples), lane_count(self.model.device)
        rounds = max(1, -(-prompts // (most * lanes)))
        return max(1, -(-prompts // (rounds * lanes)))

    def count(self, texts: Sequence[str]) -> list[int]:
        """The tokens of each text, as it stands."""
        return [len(tokens) for tokens in self._encode(texts)]

    def _encode(self, texts: Sequence[str]) -> list[list[int]]:
        return [list(self.tokenizer(text, add_special_tokens=False)["input_ids"]) for text in texts]

    def _constraint(self, sources: Sequence[Extract], sampling: Sampling) -> Allowed:
        return SpanConstraint(
            self.tokenizer,
            [source.text for source in sources],
            [source.avoid for source in sources],
            self.tokenizer("\n", add_special_tokens=False)["input_ids"][-1],
            sampling.max_new_tokens - 1,
        ).allowed

    def _texts(self, written: list[list[int]], sampling: Sampling) -> list[str]:
        texts = self.tokenizer.batch_decode(written, skip_special_tokens=True)
        if sampling.line:
            texts = [text.split("\n", 1)[0] for text in texts]
        if sampling.until:
            texts = [head + mark for head, mark, _ in (text.partition(sampling.until) for text in texts)]
        return texts


def _dealt(order: Sequence[int], size: int, lanes: int) -> list[list[int]]:
    """Batches of `size`, dealt out so that those that lanes compute at once are alike in length."""
    rounds = [order[start : start + size * lanes] for start in range(0, len(order), size * lanes)]
    return [list(dealt) for found in rounds for lane in range(lanes) if (dealt := found[lane::lanes])]


def _seeds(encoded: Sequence[Sequence[int]], seed: int, samples: int) -> Iterator[list[int]]:
    """The seeds of each prompt's samples; a prompt that stands there twice gets others the second time."""
    met: Counter[tuple[int, ...]] = Counter()
    for ids in encoded:
        time = met[tuple(ids)]
        met[tuple(ids)] += 1
        yield [row_seed(seed, ids, time, sample) for sample in range(samples)]
