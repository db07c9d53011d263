"""What is written beside the models about their training adds up over trainings that went on from each other."""

from pathlib import Path

import pytest

torch = pytest.importorskip("torch")

from models.training import loop, record  # noqa: E402

pytestmark = pytest.mark.engine
RECIPE = loop.Recipe("line", steps=3, batch=4, rate=1e-2, low_precision=False)


def _loss(model: "torch.nn.Module", step: int, rng: "torch.Generator") -> "torch.Tensor":
    return model(torch.randn(4, 3, generator=rng)).square().mean()


def test_steps_and_hours_of_what_went_on_add_up_and_those_of_what_began_anew_do_not(tmp_path: Path) -> None:
    source, out, work = (tmp_path / name for name in ("source", "out", "work"))
    source.mkdir()
    out.mkdir()
    (source / record.NAME).write_text('{"line": {"steps": 40, "hours": 1.5}, "other": {"steps": 7, "hours": 2}}')
    record.begin(work, source, "abc")
    loop.fit(RECIPE, torch.nn.Linear(3, 1), _loss, work)
    for _ in range(2):  # written again, it is the same
        record.write(out, work, ("line", "absent"), going_on=["line"])
        assert record.read(out) == {"line": {"steps": 43, "hours": 1.5}, "other": {"steps": 7, "hours": 2}}
    record.write(out, work, ("line", "absent"), going_on=[])
    assert record.read(out) == {"line": {"steps": 3, "hours": 0.0}, "other": {"steps": 7, "hours": 2}}


def test_a_work_folder_is_not_used_for_a_training_from_other_models(tmp_path: Path) -> None:
    record.begin(tmp_path, None, None)
    record.begin(tmp_path, None, None)
    with pytest.raises(ValueError, match="name a new folder"):
        record.begin(tmp_path, tmp_path / "source", "abc")
