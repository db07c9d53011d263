"""What `promptmill rerender` refuses before it starts anything."""

import json
from pathlib import Path

import pytest

from orchestrator.cli.main import main
from tests.unit.orchestrator.importing.imported_images import own_image, planned, png


@pytest.fixture(autouse=True)
def _own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, no_settings: Path) -> None:
    monkeypatch.chdir(tmp_path)


def command(*arguments: str) -> int:
    with pytest.raises(SystemExit) as ended:
        main(list(arguments))
    return int(ended.value.code or 0)


def test_a_row_needs_its_job(capsys: pytest.CaptureFixture[str]) -> None:
    assert command("rerender", "fox") == 2
    assert "--job JOB names the job that a row is in" in capsys.readouterr().err
    assert command("rerender", "--job", "../x", "fox") == 2


def test_what_cannot_be_rendered_is_told_of_each_image_and_nothing_is_started(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    png(tmp_path / "foreign.png", parameters="a cat")
    own_image(tmp_path / "strange.png", planned(model="nonesuch"))
    lost = planned(id="lost", pipeline="img2img", strength=0.5, image={"address": "x", "sha256": "ab" * 32})
    own_image(tmp_path / "lost.png", lost, inputs={"image": "ab" * 32})
    (tmp_path / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    assert command("rerender", "foreign.png", "strange.png", "lost.png", "broken.png", "--json") == 1
    verdicts = json.loads(capsys.readouterr().out)
    assert [(one["file"], one["outcome"]) for one in verdicts] == [
        ("foreign.png", "failed"),
        ("strange.png", "failed"),
        ("lost.png", "failed"),
        ("broken.png", "failed"),
    ]
    reasons = [one["reasons"][0] for one in verdicts]
    assert "no recipe of promptmill" in reasons[0]
    assert "nonesuch is not in the catalogue" in reasons[1]
    assert "sha256:abab" in reasons[2]
    assert "--inputs DIR" in reasons[2]
    assert "cut off" in reasons[3]


def test_the_originals_folder_is_no_place_for_the_new_images(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = own_image(tmp_path / "fox.png", planned())
    before = file.read_bytes()
    assert command("rerender", "fox.png", "-o", ".", "--force") == 2
    assert "fox.png is one of the images to compare with" in capsys.readouterr().err
    assert file.read_bytes() == before
    file.rename(tmp_path / "mine.png")
    (tmp_path / "fox.png").write_text("another")
    assert command("rerender", "mine.png", "-o", ".") == 2
    assert "--force writes over it" in capsys.readouterr().err
    assert (tmp_path / "fox.png").read_text() == "another"
