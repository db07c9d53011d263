"""The object store's verbs on a real S3 endpoint."""

import hashlib
import io
import os
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import pytest
from pydantic import SecretStr

from schemas.errors import BucketMissing, ObjectMissing, ServiceError, StoreRefused, StoreUnavailable
from services.settings import S3Settings
from services.store import ObjectStore
from services.store_client import Patience

UNICODE = "猫 🐈 ünï.png"


@contextmanager
def small_pages(store: ObjectStore) -> Iterator[None]:
    """The store's listings come in pages of three."""
    events, name = store._client.meta.events, "provide-client-params.s3.ListObjectsV2"

    def shrink(params: dict[str, Any], **_: object) -> dict[str, Any]:
        return params | {"MaxKeys": 3}

    events.register(name, shrink)
    yield
    events.unregister(name, shrink)


class TestObjects:
    def test_bytes_come_back_as_they_went(self, store: ObjectStore) -> None:
        data = os.urandom(100_000)
        store.put("a/b", data, "image/png", {"row": "1"})
        assert store.get("a/b") == data
        store.put("a/empty", b"")
        assert store.get("a/empty") == b""

    def test_a_key_in_any_script_is_a_key(self, store: ObjectStore) -> None:
        store.put(f"a/{UNICODE}", b"x")
        assert store.get(f"a/{UNICODE}") == b"x"
        assert [found.key for found in store.list("a/")] == [f"a/{UNICODE}"]

    def test_a_range_is_exactly_the_bytes_asked_for(self, store: ObjectStore) -> None:
        data = bytes(range(256))
        store.put("a", data)
        assert store.get_range("a", 0, 1) == data[:1]
        assert store.get_range("a", 100, 50) == data[100:150]
        assert store.get_range("a", 255, 1) == data[255:]

    def test_a_range_past_the_end_is_refused_not_empty(self, store: ObjectStore) -> None:
        store.put("a", b"abc")
        with pytest.raises(ServiceError):
            store.get_range("a", 10, 5)

    def test_a_missing_object_is_named(self, store: ObjectStore) -> None:
        with pytest.raises(ObjectMissing, match="nothing/here"):
            store.get("nothing/here")
        assert store.head("nothing/here") is None

    def test_head_tells_size_and_md5(self, store: ObjectStore) -> None:
        store.put("a", b"hello")
        found = store.head("a")
        assert found is not None
        assert (found.key, found.size, found.etag) == ("a", 5, hashlib.md5(b"hello").hexdigest())

    def test_a_file_of_any_size_goes_up(self, store: ObjectStore, tmp_path: Path) -> None:
        data = os.urandom(9 << 20)  # more than one part
        path = tmp_path / UNICODE
        path.write_bytes(data)
        store.put_file("large", path)
        assert store.get("large") == data

    def test_a_download_tells_the_hash_of_what_it_wrote(self, store: ObjectStore) -> None:
        data = os.urandom(300_000)
        store.put("a", data)
        file = io.BytesIO()
        assert store.download("a", file, chunk=1000) == hashlib.sha256(data).hexdigest()
        assert file.getvalue() == data

    def test_many_threads_share_one_store(self, store: ObjectStore) -> None:
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(lambda number: store.put(f"t/{number}", str(number).encode()), range(40)))
            assert list(pool.map(lambda number: store.get(f"t/{number}"), range(40))) == [
                str(number).encode() for number in range(40)
            ]

    def test_an_address_reads_without_credentials(self, store: ObjectStore) -> None:
        store.put("a", b"hello")
        with urlopen(store.presign("a", 60)) as answer:
            assert answer.read() == b"hello"


class TestPutMissing:
    def test_what_is_there_is_not_sent_again(self, store: ObjectStore) -> None:
        assert store.put_missing("a", b"one")
        assert not store.put_missing("a", b"one")

    @pytest.mark.parametrize("other", [b"two", b"three"], ids=["same size", "other size"])
    def test_other_content_is(self, store: ObjectStore, other: bytes) -> None:
        store.put("a", b"one")
        assert store.put_missing("a", other)
        assert store.get("a") == other


class TestLists:
    def test_objects_come_in_key_order_and_below_the_folder_alone(self, store: ObjectStore) -> None:
        for key in ("j/b/2", "j/a/1", "j/b/1", "jj/x", "j/c"):
            store.put(key, b"x")
        assert [found.key for found in store.list("j/")] == ["j/a/1", "j/b/1", "j/b/2", "j/c"]
        assert [found.key for found in store.list("j/b/")] == ["j/b/1", "j/b/2"]
        assert list(store.list("nothing/")) == []

    def test_more_than_a_page_of_objects_is_listed_whole(self, store: ObjectStore) -> None:
        for number in range(10):
            store.put(f"p/{number}", b"")
        with small_pages(store):
            assert [found.key for found in store.list("p/")] == [f"p/{number}" for number in range(10)]

    def test_folders_are_listed_once_and_without_what_is_in_them(self, store: ObjectStore) -> None:
        for key in ("j/a/1", "j/a/2", "j/b/c/1", "j/file"):
            store.put(key, b"x")
        assert sorted(store.list_folders("j/")) == ["j/a/", "j/b/"]

    def test_an_error_of_the_reader_stays_the_readers(self, store: ObjectStore) -> None:
        store.put("j/a", b"x")
        found = store.list("j/")
        next(found)
        with pytest.raises(ValueError, match="mine"):
            found.throw(ValueError("mine"))  # type: ignore[attr-defined]


class TestDelete:
    def test_what_is_named_is_gone_and_a_missing_one_is_no_error(self, store: ObjectStore) -> None:
        for key in ("a", "b", "c"):
            store.put(key, b"x")
        assert store.delete(["a", "c", "nothing"]) == 3
        assert [found.key for found in store.list("")] == ["b"]
        assert store.delete([]) == 0

    def test_more_than_one_request_takes_is_deleted_whole(
        self, store: ObjectStore, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("services.store.DELETE_BATCH", 2)
        for key in "abcde":
            store.put(key, b"x")
        assert store.delete("abcd") == 4
        assert [found.key for found in store.list("")] == ["e"]

    def test_an_object_that_the_store_keeps_is_told(self, store: ObjectStore, monkeypatch: pytest.MonkeyPatch) -> None:
        """S3 answers 200 and names in it what it did not delete."""
        answer = {"Errors": [{"Key": "a", "Code": "AccessDenied", "Message": "no"}]}
        monkeypatch.setattr(store, "_client", type("Client", (), {"delete_objects": lambda self, **_: answer})())
        with pytest.raises(StoreRefused, match="AccessDenied"):
            store.delete(["a"])


class TestPrefix:
    def test_stores_with_other_prefixes_see_nothing_of_each_other(self, s3_server: S3Settings) -> None:
        one, two = (ObjectStore(s3_server.model_copy(update={"prefix": name})) for name in ("one", "on"))
        one.put("a", b"1")
        assert two.head("a") is None
        assert list(two.list("")) == []
        assert one.url("a") == "s3://bucket/one/a"

    def test_without_a_prefix_keys_are_the_buckets(self, s3_server: S3Settings) -> None:
        bare = ObjectStore(s3_server.model_copy(update={"prefix": ""}))
        bare.put("bare/a", b"1")
        assert bare.get("bare/a") == b"1"
        assert bare.url("bare/a") == "s3://bucket/bare/a"


class TestForeign:
    def test_an_object_of_any_bucket_is_read_up_to_a_limit(self, store: ObjectStore) -> None:
        store.put("in put#1?.png", b"0123456789")
        key = store.url("in put#1?.png").removeprefix("s3://bucket/")
        assert store.get_foreign("bucket", key, 10) == b"0123456789"
        assert store.get_foreign("bucket", key, 4) == b"01234"

    def test_what_is_missing_is_told_apart(self, store: ObjectStore) -> None:
        with pytest.raises(BucketMissing):
            store.get_foreign("nobucket", "a", 10)
        with pytest.raises(ObjectMissing):
            store.get_foreign("bucket", "nothing", 10)


class TestTrouble:
    def test_a_missing_bucket_says_so_and_what_to_do(self, s3_server: S3Settings, tmp_path: Path) -> None:
        store = ObjectStore(s3_server.model_copy(update={"bucket": "nobody"}))
        (tmp_path / "file").write_bytes(b"x")
        for verb in (
            store.check,
            lambda: store.put("a", b""),
            lambda: store.put_file("a", tmp_path / "file"),
            lambda: list(store.list("")),
        ):
            with pytest.raises(BucketMissing, match="'nobody' does not exist") as caught:
                verb()
            assert "PROMPTMILL_S3__BUCKET" in caught.value.hint

    def test_wrong_credentials_say_so(self, s3_server: S3Settings) -> None:
        store = ObjectStore(s3_server.model_copy(update={"secret_access_key": SecretStr("wrong")}))
        with pytest.raises(StoreRefused, match="refused") as caught:
            store.check()
        assert "wrong" not in str(caught.value)

    def test_no_credentials_say_which_to_set(self, s3_server: S3Settings, no_settings: Path) -> None:
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("AWS_EC2_METADATA_DISABLED", "true")
            patch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(no_settings / "none"))
            patch.setenv("AWS_CONFIG_FILE", str(no_settings / "none"))
            nobody = s3_server.model_copy(update={"access_key_id": None, "secret_access_key": None})
            with pytest.raises(StoreRefused, match="no credentials") as caught:
                ObjectStore(nobody).check()
        assert "AWS_ACCESS_KEY_ID" in caught.value.hint

    def test_nobody_there_is_no_answer(self, s3_server: S3Settings) -> None:
        store = ObjectStore(s3_server.model_copy(update={"endpoint_url": "http://127.0.0.1:9"}), Patience(2, 5))
        with pytest.raises(StoreUnavailable, match="EndpointConnectionError") as caught:
            store.get("a")
        assert "is it running" in caught.value.hint

    @pytest.mark.parametrize("address", ["nonsense", "http://", "127.0.0.1:9000"])
    def test_an_address_that_is_none_is_refused_at_once(self, s3_server: S3Settings, address: str) -> None:
        with pytest.raises(StoreRefused):
            ObjectStore(s3_server.model_copy(update={"endpoint_url": address})).check()

    def test_creating_a_bucket_twice_is_no_error(self, s3_server: S3Settings) -> None:
        store = ObjectStore(s3_server.model_copy(update={"bucket": "made-by-us"}))
        with pytest.raises(BucketMissing):
            store.check()
        store.create_bucket()
        store.create_bucket()
        store.check()

    def test_no_secret_is_ever_shown(self, s3_server: S3Settings, store: ObjectStore) -> None:
        assert s3_server.secret_access_key is not None
        assert "secret" not in repr(s3_server).replace("secret_access_key", "")
        assert "secret" not in store.place


def test_a_store_that_is_silent_is_told_of_and_given_up(
    s3_server: S3Settings, caplog: pytest.LogCaptureFixture
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:  # connections wait in its backlog, and nobody answers
        endpoint = f"http://127.0.0.1:{silent.getsockname()[1]}"
        store = ObjectStore(s3_server.model_copy(update={"endpoint_url": endpoint}), Patience(tries=2, seconds=0.2))
        with pytest.raises(StoreUnavailable):
            store.get("a")
    assert caplog.messages == [f"the object store at {endpoint} does not answer; trying again"]
