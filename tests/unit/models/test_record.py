"""What is written beside the models about their training adds up over trainings that went on from each other."""

from pathlib import Path

import pytest

torch = pytest.importorskip("torch")

from models.training import loop, record  # noqa: E402

pytestmark = pytest.mark.engine
RECIPE = loop.Recipe("line", steps=3, batch=4, rate=1e-2, low_precision=False)


def _loss(model: "torch.nn.Module", step: int, rng: "torch.Generator") -> "torch.Tensor":
    return model(torch.randn(4, 3, generator=rng)).square().mean()


def test_steps_and_hours_add_up(tmp_path: Path) -> None:
    source, out, work = (tmp_path / name for name in ("source", "out", "work"))
    source.mkdir()
    out.mkdir()
    (source / record.NAME).write_text('{"line": {"steps": 40, "hours": 1.5}, "other": {"steps": 7, "hours": 2}}')
    loop.fit(RECIPE, torch.nn.Linear(3, 1), _loss, work)
    record.write(out, work, ("line", "absent"), source)
    assert record.read(out) == {"line": {"steps": 43, "hours": 1.5}, "other": {"steps": 7, "hours": 2}}
    record.write(out, work, ("line", "absent"), None)
    assert record.read(out) == {"line": {"steps": 3, "hours": 0.0}}
