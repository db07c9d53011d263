"""The optimizer of the UNets: matrices move by orthogonal steps, the rest by AdamW; a stopped run goes on exactly."""

from dataclasses import replace
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")

from models.training import loop, muon  # noqa: E402

pytestmark = pytest.mark.engine
RECIPE = loop.Recipe("net", steps=30, batch=8, rate=1e-2, warmup=5, halved=True, muon=True, falling=0.3)


def _net() -> "torch.nn.Module":
    torch.manual_seed(0)
    return torch.nn.Sequential(
        torch.nn.Conv2d(3, 8, 3, padding=1), torch.nn.SiLU(), torch.nn.Conv2d(8, 3, 3, padding=1)
    )


def _loss(model: "torch.nn.Module", step: int, rng: "torch.Generator") -> "torch.Tensor":
    x = torch.randn(8, 3, 8, 8, generator=rng)
    return (model(loop.like(model, x)).float() - x.flip(1)).square().mean()


@pytest.mark.parametrize("shape", [(2, 16, 40), (3, 40, 16)])
def test_steps_of_matrices_are_nearly_orthogonal(shape: tuple[int, int, int]) -> None:
    found = muon.orthogonal(torch.randn(shape, generator=torch.Generator().manual_seed(0)))
    values = torch.linalg.svdvals(found)
    assert found.shape == shape
    assert float(values.min()) > 0.5
    assert float(values.max()) < 1.4


def test_matrices_go_by_muon_and_vectors_by_adamw() -> None:
    net = _net()
    before = [p.detach().clone() for p in net.parameters()]
    optimizer = muon.muon(net, 1e-2, (0.9, 0.99), 0.0)
    _loss(net, 0, torch.Generator().manual_seed(0)).backward()
    optimizer.step()
    moved = [(p.detach() - b).flatten(1) if p.ndim > 1 else p.detach() - b
             for p, b in zip(net.parameters(), before, strict=True)]  # fmt: skip
    assert torch.allclose(moved[1].abs(), torch.full_like(moved[1], 1e-2), atol=1e-4)  # AdamW's first step: the rate
    values = torch.linalg.svdvals(moved[0]) / (1e-2 * muon.LIKE_ADAMW * 27**0.5)
    assert float(values.min()) > 0.5
    assert float(values.max()) < 1.4


class _Stopped(Exception):
    pass


def test_a_stopped_run_of_a_twin_goes_on_where_it_was(tmp_path: Path) -> None:
    whole = loop.fit(RECIPE, _net(), _loss, tmp_path / "whole")

    def stops(model: "torch.nn.Module", step: int, rng: "torch.Generator") -> "torch.Tensor":
        if step == 13:
            raise _Stopped
        return _loss(model, step, rng)

    eager = replace(RECIPE, save_every=0.0)
    with pytest.raises(_Stopped):
        loop.fit(eager, _net(), stops, tmp_path / "halves")
    halves = loop.fit(eager, _net(), _loss, tmp_path / "halves")
    assert all(torch.equal(a, b) for a, b in zip(whole.parameters(), halves.parameters(), strict=True))
    assert {p.dtype for p in halves.parameters()} == {torch.float32}


def test_the_loss_falls(tmp_path: Path) -> None:
    with torch.no_grad():
        first = float(_loss(_net(), 0, torch.Generator().manual_seed(9)))
    net = loop.fit(replace(RECIPE, steps=150, averaging=0.9), _net(), _loss, tmp_path)
    with torch.no_grad():
        assert float(_loss(net, 0, torch.Generator().manual_seed(9))) < first / 5
