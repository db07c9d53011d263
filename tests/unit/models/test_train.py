"""Which stages go on from what: the upscaler from what is trained before it, or from what is shipped."""

from pathlib import Path

import pytest

torch = pytest.importorskip("torch")

from models.training import export, fine, loop, record, train, upscale  # noqa: E402

pytestmark = pytest.mark.engine
STEPS = {"fine": 3, "upscale": 4, "whole": 5}


class Trainers:
    """Stands in for the trainers of the upscaler: what they train is marked with what it went on from."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.rates: dict[str, float] = {}
        self.exported: list[tuple[Path, str, str]] = []
        monkeypatch.setattr(fine, "train", lambda work, codec, recipe: self.trained(work, recipe, codec))
        monkeypatch.setattr(upscale, "train", lambda work, parts, codec, recipe: self.trained(work, recipe, codec))
        monkeypatch.setattr(upscale, "train_on_whole", self.on_whole)
        monkeypatch.setattr(export, "export_own", self.export)
        monkeypatch.setattr(export, "export_base", lambda out, *models: out.mkdir(exist_ok=True))
        monkeypatch.setattr(train.data, "digest", lambda *models: "a digest")
        monkeypatch.setattr(train.unet, "opened", lambda folder: "S")
        monkeypatch.setattr(export, "open_standing", lambda out: dict.fromkeys(
            ("vae", "clip", "tokenizer", "estimator", "fine", "upscale"), "S"))  # fmt: skip
        for name in ("vae", "clip", "tokenizer", "decoder", "txt2img", "inpaint", "depth", "estimator"):
            monkeypatch.setattr(train.Workshop, name, lambda shop: "S" if shop.source else "N")

    def trained(self, work: Path, recipe: loop.Recipe, start: str) -> str:
        self.rates[recipe.name] = recipe.rate
        (work / recipe.name).mkdir(parents=True)
        held = {"step": STEPS[recipe.name], "seconds": 3600.0}
        torch.save(held, work / recipe.name / "checkpoint.pt")
        return f"{recipe.name}({start})"

    def on_whole(self, work: Path, parts: object, net: str, codec: str, recipe: loop.Recipe) -> tuple[str, str]:
        return self.trained(work, recipe, net), f"decoder({codec})"

    def export(self, out: Path, name: str, net: str, **parts: str) -> None:
        if name == "upscale":
            self.exported.append((out, net, parts["vae"]))


ANEW = ("whole(upscale(fine({0})))", "decoder(fine({0}))")


@pytest.mark.parametrize("stages", [train.STAGES, ("upscale",), ("fine", "whole"), ("whole",)], ids=str)
@pytest.mark.parametrize("goes_on", [False, True], ids=["from nothing", "from shipped"])
def test_the_upscaler_that_is_exported_knows_whole_pictures_and_is_that_of_this_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stages: tuple[str, ...], goes_on: bool
) -> None:
    source, out = tmp_path / "source", tmp_path / "out"
    source.mkdir()
    (source / record.NAME).write_text('{"whole": {"steps": 100, "hours": 2}, "upscale": {"steps": 200, "hours": 2}}')
    trainers = Trainers(monkeypatch)
    train.run(tmp_path / "work", stages, out, source=source if goes_on else None)
    alone = goes_on and stages == ("whole",)
    expected = ("whole(S)", "decoder(S)") if alone else tuple(text.format("S" if goes_on else "N") for text in ANEW)
    assert trainers.exported == [(out, *expected)]
    assert trainers.rates["whole"] == upscale.ON_WHOLE.rate * (train.GOING_ON if alone else 1)
    spent = record.read(out)
    assert spent["whole"]["steps"] == 5 + (100 if alone else 0)
    assert spent["upscale"]["steps"] == (200 if alone else 4)


def test_a_stage_that_is_no_part_of_the_upscaler_leaves_it_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = tmp_path / "source"
    source.mkdir()
    trainers = Trainers(monkeypatch)
    train.run(tmp_path / "work", ("inpaint",), tmp_path / "out", source=source)
    assert (trainers.exported, trainers.rates) == ([], {})


def test_what_was_trained_anew_stays_so_for_later_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source, work, out = tmp_path / "source", tmp_path / "work", tmp_path / "out"
    source.mkdir()
    (source / record.NAME).write_text('{"whole": {"steps": 100, "hours": 2}}')
    Trainers(monkeypatch)
    train.run(work, ("upscale",), out, source=source)
    train.run(work, ("inpaint",), out, source=source)
    assert record.read(out)["whole"]["steps"] == 5


def test_the_source_is_not_written_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folders = ["--from", str(tmp_path), "--out", str(tmp_path)]
    monkeypatch.setattr("sys.argv", ["train", "--work", str(tmp_path / "work"), *folders])
    with pytest.raises(SystemExit):
        train.main()
    assert "--out: name another folder than --from" in capsys.readouterr().err
