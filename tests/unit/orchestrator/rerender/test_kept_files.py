"""Images that were rendered again are kept beside the originals, never in their place."""

from pathlib import Path

import pytest

from orchestrator.rerender.kept import KeptFiles
from orchestrator.rerender.originals import Original, read_original
from schemas.errors import SettingsError
from tests.unit.orchestrator.importing.imported_images import own_image, planned


@pytest.fixture
def fox(tmp_path: Path) -> Original:
    (tmp_path / "first").mkdir()
    return read_original(own_image(tmp_path / "first" / "fox.png", planned()))


def test_an_original_is_never_written_over_forced_or_not(tmp_path: Path, fox: Original) -> None:
    before = fox.file.read_bytes()
    (tmp_path / "linked").mkdir()
    (tmp_path / "linked" / "fox.png").symlink_to(fox.file)
    (tmp_path / "hard").mkdir()
    (tmp_path / "hard" / "fox.png").hardlink_to(fox.file)
    for folder in ("first", "first/../first", "linked", "hard"):
        for force in (False, True):
            with pytest.raises(SettingsError, match="one of the images to compare with"):
                KeptFiles(tmp_path / folder, [fox], force=force)
    assert fox.file.read_bytes() == before


def test_another_file_of_the_name_is_written_over_only_by_force(tmp_path: Path, fox: Original) -> None:
    other = tmp_path / "again" / "fox.png"
    other.parent.mkdir()
    other.write_text("mine")
    with pytest.raises(SettingsError, match="is there already") as refused:
        KeptFiles(other.parent, [fox], force=False)
    assert "--force" in refused.value.hint
    assert other.read_text() == "mine"
    assert KeptFiles(other.parent, [fox], force=True).keep(fox, b"new") == other
    assert other.read_bytes() == b"new"


def test_a_file_that_came_meanwhile_is_kept(tmp_path: Path, fox: Original) -> None:
    kept = KeptFiles(tmp_path / "again", [fox], force=False)
    (tmp_path / "again").mkdir()
    (tmp_path / "again" / "fox.png").write_text("mine")
    with pytest.raises(SettingsError, match="is there already"):
        kept.keep(fox, b"new")
    assert (tmp_path / "again" / "fox.png").read_text() == "mine"


def test_rows_of_two_jobs_with_one_id_have_two_files(tmp_path: Path, fox: Original) -> None:
    (tmp_path / "second").mkdir()
    other = read_original(own_image(tmp_path / "second" / "fox.png", planned(seed=99)))
    loud = read_original(own_image(tmp_path / "second" / "FOX.png", planned(id="FOX", num_images=2), 1))
    kept = KeptFiles(tmp_path / "again", [fox, other, loud, fox], force=False)
    assert [kept.keep(one, bytes([number])).name for number, one in enumerate((fox, other, loud))] == [
        "fox.png",
        "fox-2.png",
        "FOX-1.png",
    ]
    assert (tmp_path / "again" / "fox-2.png").read_bytes() == b"\1"
