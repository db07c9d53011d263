"""A full disk of a worker, of the orchestrator or of the user who fetches: told, waited for or gone on with."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from tests.faults.fault_mill import FaultMill
from tests.faults.jobs import prompts
from tests.faults.rooms import SLOW_STEPS
from tests.missing import missing

pytestmark = [pytest.mark.faults, pytest.mark.timeout(600)]


class SmallDisk:
    """A file system of 256 KB in memory."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir()
        subprocess.run(
            ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(folder)], check=True, capture_output=True
        )

    def fill(self, *, leave: int = 0) -> None:
        """Take every byte that is left, but for some."""
        with suppress(OSError), (self.folder / "filler").open("ab", buffering=0) as file:
            while file.write(b"x" * 4096):
                pass
        assert shutil.disk_usage(self.folder).free == 0
        os.truncate(self.folder / "filler", (self.folder / "filler").stat().st_size - leave)

    def free(self) -> None:
        """Give them back."""
        (self.folder / "filler").unlink()

    def close(self) -> None:
        subprocess.run(["umount", "-l", str(self.folder)], check=True)


@pytest.fixture
def disk(mill: FaultMill) -> Iterator[SmallDisk]:
    try:
        made = SmallDisk(mill.folder / "disk")
    except (subprocess.CalledProcessError, FileNotFoundError):
        missing("a small file system can be mounted by root alone")
    yield made
    mill.end_all()
    made.close()


def test_a_worker_whose_disk_is_full_goes_on(mill: FaultMill, disk: SmallDisk) -> None:
    mill.orchestrator()
    mill.worker_logging_to(disk.folder, "full", **SLOW_STEPS, TMPDIR=str(disk.folder))
    mill.submit(prompts(100), "worker")
    mill.wait_for_lease("worker")
    disk.fill()  # its log has no room from here on
    status = mill.wait_for("worker")
    assert (status.done, status.failed) == (100, 0)
    assert "counted job=worker task=3" not in (disk.folder / "full.log").read_text(), "its disk was not full"
    mill.settle("worker")


def test_a_job_whose_orchestrator_has_no_room_for_its_tables_waits_for_room(mill: FaultMill, disk: SmallDisk) -> None:
    disk.fill(leave=8192)  # enough to look like a folder for temporary files
    mill.orchestrator(TMPDIR=str(disk.folder))
    mill.worker("w")
    mill.submit(prompts(100), "tables")
    mill.until(lambda: "trying again" in mill.log("orchestrator"), what="the full disk in the orchestrator's log")
    assert not mill.ended("tables")
    disk.free()
    assert mill.wait_for("tables").done == 100
    mill.settle("tables")


def test_a_fetch_that_filled_the_disk_goes_on_where_it_stopped(mill: FaultMill, disk: SmallDisk) -> None:
    mill.orchestrator()
    mill.worker("w")
    mill.submit(prompts(200), "fetch")
    mill.wait_for("fetch")
    out = disk.folder / "out"
    disk.fill()
    full = mill.command("fetch", "fetch", "--out", str(out), check=False)
    assert full.returncode == 5, full.stderr
    assert "No space left" in full.stderr or "full" in full.stderr
    disk.free()
    subprocess.run(["mount", "-o", "remount,size=64m", str(disk.folder)], check=True)
    mill.command("fetch", "fetch", "--out", str(out))
    assert len(list(out.rglob("*.png"))) == 200
    mill.settle("fetch")
