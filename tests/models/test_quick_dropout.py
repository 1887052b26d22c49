"""Quick dropout drops as much as torch's, drops the same from the same seed, and leaves inference alone."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from raglift.models.quick_dropout import QuickDropout, quicken_dropout


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("share", [0.1, 0.5, 0.97])
def test_the_share_the_scale_and_the_gradient(dtype: torch.dtype, share: float) -> None:
    torch.manual_seed(3)
    units = torch.full((1001, 301), 2.0, dtype=dtype, requires_grad=True)
    found = QuickDropout(share)(units)
    assert found.dtype == dtype
    zero = found == 0
    count = units.numel()
    assert float(zero.float().mean()) == pytest.approx(share, abs=5 * (share * (1 - share) / count) ** 0.5)
    torch.testing.assert_close(found[~zero], torch.full_like(found[~zero], 2 / (1 - share)), rtol=1e-2, atol=0)
    found.float().sum().backward()
    assert units.grad is not None
    torch.testing.assert_close(units.grad * 2, found.detach())
    for axis in (0, 1):  # no row and no column is spared
        assert float(zero.float().mean(axis).std()) < 2 * (share * (1 - share) / zero.shape[axis]) ** 0.5


def test_neighbours_are_dropped_apart() -> None:
    torch.manual_seed(0)
    kept = (QuickDropout(0.5)(torch.ones(400_000)) > 0).float() - 0.5
    for apart in range(1, 9):
        assert abs(float((kept[apart:] * kept[:-apart]).mean())) < 5 * 0.25 / 400_000**0.5


def test_the_seed_decides() -> None:
    module, units = QuickDropout(0.3), torch.ones(50, 7)
    draws = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        draws.append(module(units))
    assert torch.equal(draws[0], draws[1])
    assert not torch.equal(draws[0], draws[2])
    assert torch.equal(module.eval()(units), units)
    assert torch.equal(QuickDropout(0.0)(units), units)
    assert not QuickDropout(1.0)(units).any()


def test_plain_dropouts_are_replaced_and_their_state_is_kept() -> None:
    class Special(nn.Dropout):
        pass

    model = nn.Sequential(nn.Dropout(0.2), nn.Sequential(nn.Dropout(0.4), nn.Linear(2, 2)), Special(0.6)).eval()
    quicken_dropout(model)
    kinds = [(type(module), getattr(module, "p", None)) for module in model.modules()]
    assert [kind for kind in kinds if kind[1] is not None] == [(QuickDropout, 0.2), (QuickDropout, 0.4), (Special, 0.6)]
    assert not any(module.training for module in model.modules())
