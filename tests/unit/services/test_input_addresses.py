"""Which addresses of input images are read, by client and worker alike."""

import pytest

from schemas.errors import InvalidInput
from services.input_addresses import InputRules, address_problem, is_local, shown
from services.settings import InputSettings, S3Settings, Settings

OPEN = InputRules(None, https=True)


@pytest.mark.parametrize(
    "address",
    ["a.png", "../in/a.png", "/abs/a.png", "C:\\a.png", "with space.png", "s3.png", "https.png", "a:b.png", "@x"],
)
def test_a_file_is_a_file(address: str) -> None:
    assert address_problem(address) is None
    assert is_local(address)


@pytest.mark.parametrize(
    "address",
    ["s3://bucket/a/b.png", "s3://bucket/猫.png", "https://a.example/x.png", "https://a-b.example.org/x?y=1&z=%20",
     "https://xn--bcher-kva.example/", "https://a.example", "https://a.example:443/x"],
)  # fmt: skip
def test_an_address_is_none(address: str) -> None:
    assert address_problem(address) is None
    assert not is_local(address)
    assert OPEN.problem(address) is None


@pytest.mark.parametrize(
    "address",
    ["http://x.example/a", "HTTPS://x.example/a", "ftp://x/a", "file:///a", "data:image/png;base64,x", "s3://",
     "s3://b", "s3://bu/", "s3:///key", "s3://b ucket/key", "s3://bucket/a\nb", "S3://bucket/key", "gopher://x/",
     "a\0b", "javascript://x/", "https://", "https:///x"],
)  # fmt: skip
def test_other_schemes_and_shapes_are_refused_and_never_taken_for_a_file(address: str) -> None:
    assert address_problem(address)
    with pytest.raises(InvalidInput):
        OPEN.check(address)


@pytest.mark.parametrize(
    "host",
    ["127.0.0.1", "2130706433", "0x7f000001", "0177.0.0.1", "127.1", "0x7f.1", "[::1]", "[::ffff:127.0.0.1]",
     "[fe80::1%25eth0]", "localhost", "metadata", "a..example", "-a.example", "a.example-", "bücher.example",
     "user@a.example", "user:pw@a.example", "a.example:0", "a.example:99999", "a.example\\@b.example", "a.example.",
     "169.254.169.254", "1.2.3.4.5", "a b.example", "a.example\u202e", "a.example:x", "a.5"],
)  # fmt: skip
def test_a_host_is_a_name_and_not_a_number_in_any_spelling(host: str) -> None:
    assert address_problem(f"https://{host}/x.png"), host


@pytest.mark.parametrize("path", ["/a b", "/a\r\nHost: b.example", "/\x7f", "/ä", "/\u2028"])
def test_a_path_holds_nothing_that_ends_a_line_of_the_request(path: str) -> None:
    assert address_problem(f"https://a.example{path}")


class TestRules:
    def test_without_settings_only_the_jobs_own_bucket_is_read(self) -> None:
        rules = Settings(s3=S3Settings(bucket="renders")).input_rules
        assert rules.problem("s3://renders/a.png") is None
        assert "bucket 'other' is not allowed" in (rules.problem("s3://other/a.png") or "")
        assert "web addresses are off" in (rules.problem("https://a.example/x") or "")

    def test_buckets_are_named_by_commas(self) -> None:
        settings = Settings(s3=S3Settings(bucket="renders"), inputs=InputSettings(buckets=" a-1, b.2 ,"))
        for bucket in ("renders", "a-1", "b.2"):
            assert settings.input_rules.problem(f"s3://{bucket}/a.png") is None
        assert settings.input_rules.problem("s3://a-12/a.png")
        everything = Settings(inputs=InputSettings(buckets="*")).input_rules
        assert everything.problem("s3://whatever/a.png") is None

    def test_hosts_by_name_and_all_below_one(self) -> None:
        settings = Settings(inputs=InputSettings(https=True, https_hosts="Img.example, .cdn.example"))
        allowed = ["https://img.example/a", "https://IMG.example/a", "https://a.b.cdn.example/x"]
        refused = ["https://evil-img.example/", "https://img.example.evil.org/", "https://cdn.example/x"]
        assert [settings.input_rules.problem(address) for address in allowed] == [None] * 3
        assert all(settings.input_rules.problem(address) for address in refused)

    def test_only_the_usual_port(self) -> None:
        assert OPEN.problem("https://a.example:443/x") is None
        for port in (22, 80, 6379, 8443):
            assert f"port {port} is not allowed" in (OPEN.problem(f"https://a.example:{port}/x") or "")


def test_a_query_is_not_shown_as_it_may_be_a_signature() -> None:
    assert shown("https://a.example/x?X-Amz-Signature=abc") == "https://a.example/x"
    assert shown("s3://bucket/what?.png") == "s3://bucket/what?.png"
