"""A plan on this machine's disk is sent whole, in bounded pieces, its last object last."""

from pathlib import Path

import pytest

from orchestrator.planner.spool import PlanSpool
from schemas.errors import LocalDiskError, StoreUnavailable
from tests.memory_store import MemoryStore


def filled(folder: Path, count: int = 50) -> PlanSpool:
    spool = PlanSpool(folder / "plan")
    for number in range(count):
        spool.put(f"part-{number}", f"line {number} 猫\n".encode() * number, "text/plain")
    return spool


def test_what_was_put_arrives_and_the_disk_is_given_back(tmp_path: Path) -> None:
    store, told = MemoryStore(), []
    filled(tmp_path).send(store, resume=False, on_sent=told.append)
    assert store.objects == {f"part-{number}": f"line {number} 猫\n".encode() * number for number in range(50)}
    assert told == sorted(told)
    assert told[-1] == 50
    assert not list((tmp_path / "plan").iterdir())


def test_the_last_object_is_sent_when_all_others_are_there(tmp_path: Path) -> None:
    store = MemoryStore()
    store.fault = lambda verb, key: StoreUnavailable("away") if key == "part-3" else None
    with pytest.raises(StoreUnavailable):
        filled(tmp_path).send(store, resume=False)
    assert "part-49" not in store.objects


def test_resumed_it_sends_only_what_is_not_there(tmp_path: Path) -> None:
    store = MemoryStore()
    filled(tmp_path).send(store, resume=False)
    del store.objects["part-7"]
    store.asked.clear()
    (tmp_path / "again").mkdir()
    filled(tmp_path / "again").send(store, resume=True)
    assert [key for verb, key in store.asked if verb == "put"] == ["part-7"]


def test_an_empty_one_sends_nothing(tmp_path: Path) -> None:
    store = MemoryStore()
    PlanSpool(tmp_path / "plan").send(store, resume=False)
    assert store.asked == []


def test_a_folder_that_cannot_be_made_is_told_as_the_disks_error(tmp_path: Path) -> None:
    with pytest.raises(LocalDiskError):
        PlanSpool(tmp_path / "none" / "plan")
