"""`promptmill import` as a user gives it: a manifest that validates, a summary, and no file overwritten."""

import json
import os
from pathlib import Path

import pytest

from orchestrator.cli.main import main
from tests.unit.orchestrator.importing.imported_images import INFOTEXT, own_image, planned, png


@pytest.fixture(autouse=True)
def _own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, no_settings: Path) -> None:
    monkeypatch.chdir(tmp_path)


def command(*arguments: str) -> int:
    with pytest.raises(SystemExit) as ended:
        main(list(arguments))
    return int(ended.value.code or 0)


def test_the_manifest_of_our_own_images_validates(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "out").mkdir()
    for number in range(2):
        own_image(tmp_path / "out" / f"fox-{number}.png", planned(num_images=2), number)
    assert command("import", "out", "-o", "again.jsonl") == 0
    told = capsys.readouterr().err
    assert "2 images looked at: 2 of promptmill" in told
    assert "1 row, 2 images in again.jsonl" in told
    assert command("validate", "again.jsonl") == 0
    assert "no faults" in capsys.readouterr().err


def test_without_a_name_the_manifest_is_printed_and_messages_are_apart(
    tmp_path: Path, capsysbinary: pytest.CaptureFixture[bytes]
) -> None:
    own_image(tmp_path / "a.png", planned())
    png(tmp_path / "bare.png")
    assert command("import", "a.png", "bare.png") == 0
    printed = capsysbinary.readouterr()
    assert json.loads(printed.out)["prompt"] == "a fox"
    assert b"1 image without metadata:\n  bare.png" in printed.err


def test_a_broken_file_ends_with_1_and_the_others_come(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    own_image(tmp_path / "a.png", planned())
    (tmp_path / "b.png").write_bytes(b"\x89PNG\r\n\x1a\n broken")
    assert command("import", "a.png", "b.png", "-o", "m.jsonl", "--report", "r.jsonl") == 1
    assert "b.png" in capsys.readouterr().err
    assert json.loads(Path("r.jsonl").read_text())["kind"] == "unreadable"
    assert len(Path("m.jsonl").read_text().splitlines()) == 1


def test_a_file_that_is_there_is_kept_unless_forced(tmp_path: Path) -> None:
    own_image(tmp_path / "a.png", planned())
    Path("m.jsonl").write_text("mine")
    assert command("import", "a.png", "-o", "m.jsonl") == 2
    assert Path("m.jsonl").read_text() == "mine"
    assert command("import", "a.png", "-o", "m.jsonl", "--force") == 0
    assert "fox" in Path("m.jsonl").read_text()


def test_nothing_to_import_writes_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    png(tmp_path / "bare.png")
    assert command("import", "bare.png", "-o", "m.jsonl") == 2
    assert not Path("m.jsonl").exists()
    assert "no row in 1 image" in capsys.readouterr().err


def test_models_are_mapped_and_unknown_ones_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    png(tmp_path / "a.png", parameters=INFOTEXT)
    assert command("import", "a.png", "-o", "m.jsonl") == 0
    assert "--map-model dreamshaper_8=ALIAS" in capsys.readouterr().err
    assert command("import", "a.png", "-o", "m.jsonl", "--force", "--map-model", "dreamshaper_8=sd15") == 0
    assert json.loads(Path("m.jsonl").read_text())["model"] == "sd15"
    assert command("import", "a.png", "--map-model", "dreamshaper_8=nonesuch") == 2
    assert command("import", "a.png", "--map-model", "dreamshaper_8") == 2


def test_a_row_whose_input_was_not_found_is_a_fault_that_says_what_to_do(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    row = planned(pipeline="img2img", strength=0.5, image={"address": "jobs/j/inputs/a.png", "sha256": "ab" * 32})
    own_image(tmp_path / "a.png", row, inputs={"image": "ab" * 32})
    assert command("import", "a.png", "-o", "m.jsonl") == 0
    assert "1 input image not found" in capsys.readouterr().err
    assert command("validate", "m.jsonl") == 2
    assert "promptmill import" in capsys.readouterr().err


def test_names_that_no_id_holds_come_as_a_manifest_that_only_lacks_its_model(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "d").mkdir()
    text = "a cat\nSteps: 20, CFG scale: 7, Model: bad/name with 'spaces"
    for name in ("x².png", "①.png", "fox.png", "fo\u200dx.png"):
        png(tmp_path / "d" / name, parameters=text + f", Seed: {len(name)}{ord(name[0])}")
    (tmp_path / "d" / "fox.png").rename(os.fsdecode(bytes(tmp_path / "d") + b"/caf\xe9.png"))
    png(tmp_path / "d" / "fox.png", parameters=text + ", Seed: 7")
    assert command("import", "d", "-o", "m.jsonl", "--report", "r.jsonl") == 0
    told = capsys.readouterr().err
    assert """--map-model 'bad/name with '"'"'spaces=ALIAS'""" in told
    assert command("validate", "m.jsonl", "--set", "model=tiny", "--strict", "--report", "faults.jsonl") == 0
    assert {json.loads(line)["imported_from"] for line in Path("m.jsonl").read_text().splitlines()} == {
        "x².png",
        "①.png",
        "fox.png",
        "fo\u200dx.png",
        "caf\ufffd.png",
    }


@pytest.mark.timeout(20)
@pytest.mark.parametrize("named", ["d", "d/x.png"])
def test_a_pipe_among_the_images_is_a_message_and_is_not_waited_for(
    named: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "d").mkdir()
    os.mkfifo(tmp_path / "d" / "x.png")
    own_image(tmp_path / "d" / "y.png", planned())
    assert command("import", named, "d/y.png", "-o", "m.jsonl") == 1
    assert "d/x.png: not a regular file" in capsys.readouterr().err
    assert len(Path("m.jsonl").read_text().splitlines()) == 1
    assert command("rerender", "d/x.png") == 1
    assert "not a regular file" in capsys.readouterr().out


@pytest.mark.parametrize(
    "written",
    [
        ("--report", "a.png"),
        ("--report", "b.txt"),
        ("--report", "new.png"),
        ("--report", "r.txt"),
        ("-o", "a.png", "--force"),
        ("-o", "b.txt", "--force"),
        ("-o", "m.jsonl", "--report", "./m.jsonl"),
    ],
)
def test_nothing_that_is_read_is_written_over(written: tuple[str, ...], tmp_path: Path) -> None:
    own_image(tmp_path / "a.png", planned())
    Path("b.txt").symlink_to("a.png")
    before = Path("a.png").read_bytes()
    assert command("import", "a.png", *written) == 2
    assert Path("a.png").read_bytes() == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.png", "b.txt"]


def test_findings_are_reported_where_no_row_comes_of_them(tmp_path: Path) -> None:
    png(tmp_path / "bare.png")
    assert command("import", "bare.png", "-o", "m.jsonl", "--report", "r.jsonl") == 2
    assert json.loads(Path("r.jsonl").read_text())["kind"] == "no_metadata"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bare.png", "r.jsonl"]


def test_a_report_of_validate_is_no_manifest_and_no_input(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    row = {"id": "a", "pipeline": "upscale", "model": "tiny", "image": "image.csv"}
    Path("m.jsonl").write_text(json.dumps(row) + "\n")
    png(tmp_path / "a.png").rename(tmp_path / "image.csv")
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    for report in ("m.jsonl", "image.csv"):
        assert command("validate", "m.jsonl", "--report", report) == 2
        assert "is a file that is read here" in capsys.readouterr().err
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before
    assert command("validate", "m.jsonl", "--report", "r.csv") == 0
    assert Path("r.csv").exists()
