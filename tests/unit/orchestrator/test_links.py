"""Addresses that read an image without credentials, and for how long."""

import json
import time
from urllib.error import HTTPError
from urllib.parse import parse_qs, urlsplit
from urllib.request import urlopen

import pytest

from orchestrator.cli.main import main
from orchestrator.links import image_links
from schemas import keys
from schemas.errors import JobNotFound, SettingsError
from services import jobs
from services.settings import S3Settings, Settings, as_environment
from services.store import ObjectStore
from tests.small_mill import JOB, SmallMill, planned, tasks_of, write_job
from workers.engines.flat import FlatRoom


@pytest.fixture
def rendered(store: ObjectStore, small_mill: SmallMill) -> ObjectStore:
    """A finished job in a real store: three rows, of which one has two images and one failed."""
    small_mill.store = store
    write_job(store, [[planned(0), planned(1, num_images=2), planned(2, prompt="!raise")]])
    small_mill.run(small_mill.dispatcher(), renderer=FlatRoom(small_mill.settings))
    return store


def test_each_opens_its_image(rendered: ObjectStore) -> None:
    found = list(image_links(rendered, JOB, expires_seconds=60))
    assert [(link.id, link.image) for link in found] == [("row-0", 0), ("row-1", 0), ("row-1", 1)]
    for link in found:
        with urlopen(link.url) as answer:
            assert answer.read() == rendered.get(link.key)
        assert parse_qs(urlsplit(link.url).query)["X-Amz-Expires"] == ["60"]


def test_and_opens_it_no_longer_than_was_said(rendered: ObjectStore) -> None:
    (link,) = image_links(rendered, JOB, expires_seconds=1, rows=["row-0"])
    time.sleep(2.1)
    with pytest.raises(HTTPError):
        urlopen(link.url)


@pytest.mark.parametrize("seconds", [0, -1, 0.5, 7 * 86_400 + 1])
def test_what_no_signature_holds_is_refused(memory_store: ObjectStore, seconds: float) -> None:
    with pytest.raises(SettingsError, match="--expires"):
        next(image_links(memory_store, JOB, expires_seconds=seconds))


def test_no_job_no_links(memory_store: ObjectStore) -> None:
    with pytest.raises(JobNotFound):
        next(image_links(memory_store, JOB, expires_seconds=60))


def test_the_command_prints_one_a_line(
    rendered: ObjectStore,
    store_settings: S3Settings,
    no_settings: object,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    for name, value in as_environment(Settings(s3=store_settings)).items():
        monkeypatch.setenv(name, value)
    with pytest.raises(SystemExit):
        main(["links", JOB, "--expires", "2h"])
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 3
    assert all("X-Amz-Expires=7200" in line for line in lines)
    with pytest.raises(SystemExit):
        main(["links", JOB, "row-1", "--json"])
    told = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [(link["id"], link["image"]) for link in told] == [("row-1", 0), ("row-1", 1)]


def test_the_gallery_holds_no_signed_address(small_mill: SmallMill) -> None:
    write_job(small_mill.store, tasks_of(2))
    small_mill.run(small_mill.dispatcher())
    pages = [small_mill.store.get(found.key) for found in small_mill.store.list(keys.job_folder(JOB) + "gallery/")]
    assert pages
    assert not any(b"X-Amz" in page for page in pages)
    assert jobs.read_summary(small_mill.store, JOB) is not None
