"""Real redis-server and a real S3 endpoint over a temporary data folder."""

import hashlib
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import boto3
import psutil
import pytest
from botocore.config import Config
from redis import Redis
from redis.exceptions import AuthenticationError

from schemas.errors import ServiceError, SettingsError
from services.embedded.processes import GuardedProcesses, ProcessSpec
from services.embedded.stack import start_local_services
from services.embedded.startup import start_on_free_port
from services.local_state import running_services
from services.settings import Settings, load_settings
from services.store import ObjectStore

pytestmark = pytest.mark.integration
ROOT = Path(__file__).parents[2]
DATA = os.urandom(300_000)


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("a user's földer") / "data"


@pytest.fixture(scope="module")
def settings(data_dir: Path) -> Iterator[Settings]:
    with GuardedProcesses() as processes:
        yield load_settings(**start_local_services(data_dir, processes))


@pytest.fixture
def s3(settings: Settings) -> Iterator[Any]:
    client = s3_client(settings)
    yield client
    client.close()


def s3_client(settings: Settings) -> Any:
    assert settings.s3.secret_access_key is not None
    return boto3.session.Session().client(
        "s3",
        endpoint_url=settings.s3.endpoint_url,
        region_name=settings.s3.region,
        aws_access_key_id=settings.s3.access_key_id,
        aws_secret_access_key=settings.s3.secret_access_key.get_secret_value(),
        config=Config(
            signature_version="s3v4",
            s3={"addressing_style": "path"},
            retries={"mode": "standard", "max_attempts": 8},
            connect_timeout=5,
            read_timeout=30,
            request_checksum_calculation="when_required",
            response_checksum_validation="when_required",
        ),
    )


def redis_client(settings: Settings) -> "Redis":
    return Redis.from_url(settings.redis.url.get_secret_value(), decode_responses=True)


def until(happened: Callable[[], object], seconds: float = 15) -> None:
    deadline = time.monotonic() + seconds
    while not happened():
        assert time.monotonic() < deadline, "did not happen in time"
        time.sleep(0.05)


def test_redis_asks_for_its_password_and_writes_an_append_only_file_and_no_snapshots(settings: Settings) -> None:
    with redis_client(settings) as client:
        assert client.ping()
        for name, value in (("appendonly", "yes"), ("appendfsync", "everysec"), ("save", "")):
            assert client.config_get(name) == {name: value}
        port = client.get_connection_kwargs()["port"]
    with Redis(port=port) as anonymous, pytest.raises(AuthenticationError):
        anonymous.ping()


def test_an_object_is_listed_at_once_under_its_md5_and_read_whole_and_in_ranges(settings: Settings, s3: Any) -> None:
    md5 = hashlib.md5(DATA).hexdigest()
    assert s3.put_object(Bucket="promptmill", Key="a/ü 1.png", Body=DATA)["ETag"] == f'"{md5}"'

    listed = s3.list_objects_v2(Bucket="promptmill", Prefix="a/")["Contents"]
    assert [(found["Key"], found["ETag"].strip('"'), found["Size"]) for found in listed] == [
        ("a/ü 1.png", md5, len(DATA))
    ]
    assert s3.head_object(Bucket="promptmill", Key="a/ü 1.png")["ETag"] == f'"{md5}"'
    assert s3.get_object(Bucket="promptmill", Key="a/ü 1.png")["Body"].read() == DATA
    part = s3.get_object(Bucket="promptmill", Key="a/ü 1.png", Range="bytes=1000-1999")["Body"].read()
    assert part == DATA[1000:2000]

    s3.put_object(Bucket="promptmill", Key="a/ü 1.png", Body=b"other")
    assert s3.get_object(Bucket="promptmill", Key="a/ü 1.png")["Body"].read() == b"other"
    s3.delete_object(Bucket="promptmill", Key="a/ü 1.png")
    assert not s3.list_objects_v2(Bucket="promptmill", Prefix="a/").get("Contents")


def test_a_listing_of_more_than_one_page_is_whole_and_in_order(settings: Settings) -> None:
    store = ObjectStore(settings.s3)
    keys = [f"many/part-{number // 500:05}/{number:06}" for number in range(1200)]
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda key: store.put(key, b"x"), reversed(keys)))

    assert [found.key for found in store.list("many/")] == keys
    assert list(store.list_folders("many/")) == [f"many/part-{number:05}/" for number in range(3)]
    store.delete(keys)
    assert list(store.list("many/")) == []
    store.check()


def test_a_large_object_goes_up_in_parts(settings: Settings, s3: Any, tmp_path: Path) -> None:
    (tmp_path / "large").write_bytes(DATA * 60)  # 18 MB: three parts
    ObjectStore(settings.s3).put_file("large", tmp_path / "large")
    assert s3.get_object(Bucket="promptmill", Key="large")["Body"].read() == DATA * 60


def test_nothing_is_given_to_strangers(settings: Settings, s3: Any) -> None:
    s3.put_object(Bucket="promptmill", Key="secret", Body=b"x")
    with pytest.raises(urllib.error.HTTPError) as caught:
        urllib.request.urlopen(f"{settings.s3.endpoint_url}/promptmill/secret")
    caught.value.close()
    address = ObjectStore(settings.s3).presign("secret", 60)
    with urllib.request.urlopen(address) as answer:
        assert answer.read() == b"x"


def test_the_services_are_published_and_a_second_start_names_their_owner(settings: Settings, data_dir: Path) -> None:
    assert running_services(data_dir)["s3"]["endpoint_url"] == settings.s3.endpoint_url
    with GuardedProcesses() as processes, pytest.raises(SettingsError, match=f"in use by process {os.getpid()}"):
        start_local_services(data_dir, processes)


def test_a_second_start_sees_the_data_of_the_first(tmp_path: Path) -> None:
    with GuardedProcesses() as processes:
        first = load_settings(**start_local_services(tmp_path, processes))
        ObjectStore(first.s3).put("kept", b"object")
        with redis_client(first) as client:
            client.set("kept", "key")

    with GuardedProcesses() as processes:
        second = load_settings(**start_local_services(tmp_path, processes))
        assert ObjectStore(second.s3).get("kept") == b"object"
        with redis_client(second) as client:
            assert client.get("kept") == "key"


def test_a_service_that_does_not_start_says_why(tmp_path: Path) -> None:
    with (
        GuardedProcesses() as processes,
        pytest.raises(ServiceError, match=r"(?s)bad did not start.*because") as caught,
    ):
        start_on_free_port(
            processes,
            lambda port: ProcessSpec("bad", ["sh", "-c", "echo because; exit 1"], log=tmp_path / "bad.log"),
            lambda port: False,
        )
    assert "bad.log" in caught.value.hint


PARENT = """
import sys, time
from pathlib import Path
from services.embedded.processes import GuardedProcesses
from services.embedded.stack import start_local_services

with GuardedProcesses() as processes:
    start_local_services(Path(sys.argv[1]), processes)
    try:
        print(processes.pid("redis"), processes.pid("s3"), flush=True)
        time.sleep(300)
    except KeyboardInterrupt:
        time.sleep(0.5)  # were the signal to reach them, they would be gone by now
        print("both" if processes.pid("redis") and processes.pid("s3") else "not both", flush=True)
"""


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT], ids=["kill -9", "Ctrl-C"])
def test_the_services_end_with_their_parent(tmp_path: Path, number: signal.Signals) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", PARENT, str(tmp_path)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as parent:
        assert parent.stdout is not None
        pids = [int(text) for text in parent.stdout.readline().split()]
        assert all(psutil.pid_exists(pid) for pid in pids)

        os.killpg(parent.pid, number)
        if number is signal.SIGINT:
            assert parent.stdout.readline() == "both\n"
    until(lambda: not any(psutil.pid_exists(pid) for pid in pids))
    assert running_services(tmp_path) == {}
