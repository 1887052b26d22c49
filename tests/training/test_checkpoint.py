"""A checkpoint is whole or is not there."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from raglift.training import checkpoint
from raglift.training.checkpoint import Progress


def progress(step: int) -> Progress:
    return Progress(
        step=step,
        weights={"a.b/c": torch.full((2, 3), float(step)), "half": torch.ones(2, dtype=torch.bfloat16)},
        optimizer={"a.b/c": {"step": torch.tensor(float(step)), "exp_avg": torch.rand(2, 3)}},
        best={"a.b/c": torch.zeros(2, 3)},
        best_step=step // 2,
        best_score=0.1 + 0.2,
        loss_sum=1 / 3,
        loss_count=7,
        history=[{"step": 0, "dev": 0.1}, {"step": step, "loss": 2 / 3, "dev": 1e-300}],
        states={step: {"a.b/c": torch.rand(2, 3)}, step + 1: {"a.b/c": torch.rand(2, 3)}},
    )


def same(left: Progress, right: Progress) -> bool:
    plain = ("step", "best_step", "best_score", "loss_sum", "loss_count", "history")
    tensors = [(left.weights, right.weights), (left.best, right.best)]
    tensors += [(left.states[step], right.states[step]) for step in left.states]
    tensors += [(left.optimizer[name], right.optimizer[name]) for name in left.optimizer]
    return (
        all(getattr(left, name) == getattr(right, name) for name in plain)
        and left.optimizer.keys() == right.optimizer.keys()
        and left.states.keys() == right.states.keys()
        and all(a.keys() == b.keys() and all(torch.equal(a[key], b[key]) for key in a) for a, b in tensors)
    )


def refuse(text: str) -> None:
    raise AssertionError(text)


def test_what_is_saved_is_read_back_bit_for_bit(tmp_path: Path) -> None:
    saved = progress(3)
    checkpoint.save(tmp_path, saved)
    found = checkpoint.load_newest(tmp_path, refuse)
    assert found is not None
    assert same(found, saved)
    assert found.weights["half"].dtype == torch.bfloat16


def test_nothing_saved_is_nothing_found(tmp_path: Path) -> None:
    assert checkpoint.load_newest(tmp_path / "none", refuse) is None


def test_the_last_two_are_kept(tmp_path: Path) -> None:
    for step in (1, 2, 10, 100):
        checkpoint.save(tmp_path, progress(step))
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "step-00000010.safetensors",
        "step-00000010.sha256",
        "step-00000100.safetensors",
        "step-00000100.sha256",
    ]


def test_damaged_later_checkpoints_never_push_a_sound_one_out(tmp_path: Path) -> None:
    for step in (8, 9):
        checkpoint.save(tmp_path, progress(step))
    for path in tmp_path.glob("*.safetensors"):
        path.write_bytes(path.read_bytes()[:-1])
    warnings: list[str] = []
    assert checkpoint.load_newest(tmp_path, warnings.append) is None
    assert len(warnings) == 2
    checkpoint.save(tmp_path, progress(1))
    found = checkpoint.load_newest(tmp_path, refuse)
    assert found is not None
    assert found.step == 1


@pytest.mark.parametrize("checksum", [b"", b"\xff\xfe\x00", b"0" * 64, None])
def test_a_bad_checksum_is_no_error(tmp_path: Path, checksum: bytes | None) -> None:
    for step in (1, 2):
        checkpoint.save(tmp_path, progress(step))
    file = tmp_path / "step-00000002.sha256"
    if checksum is None:
        file.unlink()
    else:
        file.write_bytes(checksum)
    warnings: list[str] = []
    found = checkpoint.load_newest(tmp_path, warnings.append)
    assert found is not None
    assert same(found, checkpoint.load_newest(tmp_path, warnings.append) or progress(0))
    assert found.step == 1
    assert "step-00000002" in warnings[0]


def test_an_interruption_while_writing_leaves_the_older_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    checkpoint.save(tmp_path, progress(1))

    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    for name in ("file_sha256", "write_atomic"):
        with monkeypatch.context() as patch:
            patch.setattr(checkpoint, name, interrupted)
            with pytest.raises(KeyboardInterrupt):
                checkpoint.save(tmp_path, progress(2))
        found = checkpoint.load_newest(tmp_path, lambda _: None)
        assert found is not None
        assert found.step == 1


def test_moments_go_back_to_their_parameters() -> None:
    names = {"one": torch.nn.Parameter(torch.ones(3)), "frozen": torch.nn.Parameter(torch.ones(2))}
    optimizer = torch.optim.AdamW(names.values(), lr=0.1)
    names["one"].grad = torch.tensor([1.0, -2.0, 3.0])
    optimizer.step()
    state = {
        name: {key: value.clone() for key, value in entries.items()}
        for name, entries in checkpoint.optimizer_state(optimizer, names).items()
    }
    assert state.keys() == {"one"}
    fresh = torch.optim.AdamW(names.values(), lr=0.1)
    checkpoint.restore_optimizer(fresh, names, state)
    assert torch.equal(fresh.state[names["one"]]["exp_avg"], optimizer.state[names["one"]]["exp_avg"])
    assert float(fresh.state[names["one"]]["step"]) == 1.0
    assert names["frozen"] not in fresh.state
