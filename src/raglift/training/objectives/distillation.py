"""A larger language model's probabilities, beside the answers, for the language model."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from transformers import PreTrainedModel

from raglift.errors import UserError
from raglift.models import padding_free
from raglift.models.device import Runtime
from raglift.models.find import FoundModel, find_model
from raglift.models.llm import context_window, load_causal_lm, load_tokenizer
from raglift.records import Target
from raglift.training.next_token import following, learning, logits_of
from raglift.training.objective import Objective


class Distillation(Objective):
    """Cross-entropy on the answer, mixed with the divergence from a teacher's probabilities of each of its tokens.

    `(1 - share) * cross-entropy + share * T² * KL(teacher || model)`, both softmaxes of the divergence taken at
    temperature T. The teacher reads the same tokens, without gradients, in the precision of the training. Of its
    probabilities the `top_k` greatest are compared one by one and the rest as one, which is never more than the whole
    divergence.

    References:
        Hinton et al. 2015, "Distilling the Knowledge in a Neural Network", section 2.
    """

    target: ClassVar[Target] = "llm"
    when: ClassVar[str] = "a larger model with the same tokenizer is at hand, and memory for both"
    paper: ClassVar[str] = "Hinton et al. 2015, section 2"

    teacher: str = Field(min_length=1, description="the larger language model: a known name, a folder or a hub id")
    temperature: float = Field(default=2.0, gt=0, description="what both sides' logits are divided by")
    share: float = Field(default=0.5, gt=0, le=1, description="share of the teacher's term; the rest is cross-entropy")
    top_k: int | None = Field(default=128, ge=1, description="tokens that are compared one by one; null: all")

    def depends(self) -> list[Any]:
        """The teacher's weights."""
        return [find_model(self.teacher).revision]

    def check(self, base: FoundModel) -> None:
        """Refuse a teacher that cannot read the model's tokens.

        Raises:
            UserError: Its tokenizer is another, or its window is shorter.
        """
        path = find_model(self.teacher).path
        if load_tokenizer(path).get_vocab() != load_tokenizer(base.path).get_vocab():
            raise UserError(
                f"{self.teacher!r} cannot teach {base.name!r} token by token.",
                "Their tokenizers differ, so that a probability of one's token says nothing about the other's.",
                "Name a larger model of the same family, or let the teacher write the answers: synthesis.model.",
            )
        windows = context_window(path), context_window(base.path)
        if windows[0] < windows[1]:
            raise UserError(
                f"{self.teacher!r} cannot teach {base.name!r}.",
                f"It reads {windows[0]:,} tokens, and an example may have {windows[1]:,}.",
                "Name a teacher whose window is as long.",
            )

    def build(self, model: nn.Module) -> Callable[[nn.Module, Any], Tensor]:
        """The loss as a function of model and batch: a mean over the answers' tokens."""
        loaded: dict[torch.dtype, PreTrainedModel] = {}

        def compute(model: nn.Module, batch: Any) -> Tensor:
            # Not before the first batch, when it is known in which precision the training runs.
            dtype = _precision(next(model.parameters()))
            if dtype not in loaded:
                loaded[dtype] = self._load(Runtime(batch["labels"].device, dtype, torch.get_num_threads()))
            wanted = learning(batch)
            student = logits_of(model, batch, wanted).float()
            with torch.no_grad():
                teacher = logits_of(loaded[dtype], batch, wanted).float()
            apart = divergence(student, teacher, self.temperature, self.top_k).mean()
            hard = cross_entropy(student, following(batch["labels"])[wanted])
            return (1 - self.share) * hard + self.share * self.temperature**2 * apart

        return compute

    def _load(self, runtime: Runtime) -> PreTrainedModel:
        # A training that goes on loads it at another step, and must draw there what it would have drawn.
        with torch.random.fork_rng():
            teacher = load_causal_lm(find_model(self.teacher).path, runtime)
        teacher.requires_grad_(False)
        padding_free.enable(teacher)  # where it cannot, it is given padded rows
        return teacher

    def weight(self, batch: Any) -> float:
        """The learned tokens, of which the loss is the mean."""
        return float(learning(batch).sum())


def _precision(weight: Tensor) -> torch.dtype:
    """That of the matrix products with a weight, here and now."""
    kind = weight.device.type
    return torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else weight.dtype


def divergence(student: Tensor, teacher: Tensor, temperature: float, top_k: int | None) -> Tensor:
    """KL(teacher || student) of each row of logits (N, V), in nats, at a temperature; (N,).

    Models of one tokenizer may have output layers of different widths; what is past the narrower stands for no token.

    Args:
        top_k: Of the teacher's probabilities so many are compared one by one, and all others by their sum.
    """
    width = min(student.shape[1], teacher.shape[1])
    found = torch.log_softmax(student[:, :width] / temperature, dim=1)
    wanted = torch.log_softmax(teacher[:, :width] / temperature, dim=1)
    if top_k is None or top_k >= width:
        return (wanted.exp() * (wanted - found)).sum(1)
    wanted, places = wanted.topk(top_k, dim=1)
    found = found.gather(1, places)
    others = [torch.log((1 - part.exp().sum(1, keepdim=True)).clamp(min=1e-6)) for part in (wanted, found)]
    wanted, found = torch.cat([wanted, others[0]], dim=1), torch.cat([found, others[1]], dim=1)
    return (wanted.exp() * (wanted - found)).sum(1)


PLUGIN = Distillation
