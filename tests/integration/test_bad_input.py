"""Bad input and missing services: a clear message, a stable exit status, nothing sent."""

import socket
from pathlib import Path

import pytest
from PIL import Image

from tests.integration.mill import Mill

pytestmark = pytest.mark.integration


@pytest.fixture
def folder(mill: Mill) -> Path:
    """Images to point at: a good one, a mask of another size, a text, and one of 50,000 x 50,000 pixels."""
    Image.new("RGB", (64, 64), "red").save(mill.folder / "good.png")
    Image.new("L", (32, 32), "white").save(mill.folder / "small-mask.png")
    (mill.folder / "text.png").write_text("this is no picture")
    Image.new("1", (50_000, 50_000)).save(mill.folder / "huge.png")
    return mill.folder


ROW = '{"prompt": "a cat"'
IMAGE = ROW + ', "pipeline": "img2img", "image": '
FAULTS = {
    "unknown field": (ROW + ', "cfg_sacle": 7}', "cfg_sacle", "did you mean guidance_scale?"),
    "wrong type": (ROW + ', "steps": "many"}', "steps = many", "1 to 1,000"),
    "width 513": (ROW + ', "width": 513}', "width = 513", "512 or 520"),
    "path as id": (ROW + ', "id": "../evil"}', "id = ../evil", "letter"),
    "missing image": (IMAGE + '"nowhere.png"}', "image = nowhere.png", "no such file"),
    "text named .png": (IMAGE + '"text.png"}', "image = text.png", "a text file"),
    "huge image": (IMAGE + '"huge.png"}', "image = huge.png", "50000 x 50000"),
    "mask of another size": (
        ROW + ', "pipeline": "inpaint", "image": "good.png", "mask": "small-mask.png"}',
        "mask = small-mask.png",
        "32 x 32",
    ),
    "unknown model": (ROW + ', "model": "tinny"}', "model = tinny", "tiny"),
    "unknown scheduler": (ROW + ', "scheduler": "eular"}', "scheduler = eular", "euler"),
}


def test_every_fault_of_a_manifest_is_told_at_once_and_nothing_is_sent(mill: Mill, folder: Path) -> None:
    lines = [line for line, _, _ in FAULTS.values()]
    lines += ['{"prompt": "a", "id": "twice"}', '{"prompt": "b", "id": "twice"}']
    (folder / "bad.jsonl").write_text("\n".join(lines) + "\n")
    for verb in ("validate", "submit"):
        found = mill.command(verb, "bad.jsonl", "--set", "model=tiny", check=False)
        assert found.returncode == 2
        told = [line for line in found.stderr.splitlines() if line.startswith("line ")]
        for number, (_, where, what) in enumerate(FAULTS.values(), start=1):
            mine = [line for line in told if line.startswith(f"line {number}, {where}")]
            assert mine, (number, where, found.stderr)
            assert what in mine[0]
        assert f"line {len(lines)}, id = twice" in found.stderr
        assert f"{len(FAULTS) + 1} faults in the manifest; nothing was sent" in found.stderr
        assert "Traceback" not in found.stderr
    assert list(mill.client.store.list("")) == []


def test_a_manifest_without_rows_is_refused(mill: Mill) -> None:
    (mill.folder / "empty.jsonl").write_text("\n")
    found = mill.command("submit", "empty.jsonl", check=False)
    assert (found.returncode, "no rows" in found.stderr) == (2, True)


@pytest.fixture(scope="module")
def nobody() -> str:
    """An address of this machine at which nobody listens."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{free.getsockname()[1]}"


@pytest.mark.parametrize(
    ("variable", "value", "arguments", "status", "message"),
    [
        ("PROMPTMILL_REDIS__URL", "redis://{nobody}/0", ["workers"], 4, "Redis at {nobody} does not answer"),
        ("PROMPTMILL_REDIS__URL", "http://nonsense", ["workers"], 2, "redis.url: expected redis://"),
        ("PROMPTMILL_S3__BUCKET", "no-such-bucket", ["submit", "good.txt"], 4, "does not exist"),
        ("PROMPTMILL_S3__SECRET_ACCESS_KEY", "wrong", ["submit", "good.txt"], 4, "refused"),
        ("PROMPTMILL_S3__CONNECTIONS", "many", ["list"], 2, "s3.connections"),
    ],
)
def test_a_missing_or_refusing_service_is_named_with_what_to_do(
    mill: Mill, nobody: str, variable: str, value: str, arguments: list[str], status: int, message: str
) -> None:
    (mill.folder / "good.txt").write_text("a cat\n")
    extra = ["--set", "model=tiny"] if arguments[0] == "submit" else []
    found = mill.command(*arguments, *extra, check=False, **{variable: value.format(nobody=nobody)})
    assert found.returncode == status, found.stderr
    assert message.format(nobody=nobody) in found.stderr
    assert "what to do:" in found.stderr
    assert "Traceback" not in found.stderr
    assert "wrong" not in found.stdout + found.stderr.replace("wrong password", "")


def test_a_store_that_is_down_is_named_and_the_same_submit_goes_on_later(mill: Mill, nobody: str) -> None:
    (mill.folder / "good.txt").write_text("a cat\n")
    arguments = ["submit", "good.txt", "--set", "model=tiny", "--job-id", "later"]
    down = {"PROMPTMILL_S3__ENDPOINT_URL": f"http://{nobody}"}
    found = mill.command(*arguments, check=False, **down)
    assert (found.returncode, "does not answer" in found.stderr) == (4, True), found.stderr
    assert mill.command(*arguments).stdout == "later\n"


def test_an_unknown_job_is_named(mill: Mill) -> None:
    for verb in ("status", "fetch", "pause", "cancel", "retry"):
        found = mill.command(verb, "nobody", check=False)
        assert (found.returncode, "no job 'nobody'" in found.stderr) == (3, True), (verb, found.stderr)
