"""docker-compose.yml, its services started as plain processes by deploy/compose_processes.py."""

import importlib.util
import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import psutil
import pytest
import yaml
from PIL import Image
from redis import Redis

from schemas.errors import SettingsError
from services.settings import S3Settings
from services.store import ObjectStore

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "deploy" / "compose_processes.py"
PROMPTMILL = Path(sys.executable).with_name("promptmill")


@pytest.fixture(scope="module")
def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("compose_processes", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(
    ("text", "variables", "expected"),
    [
        ("${A:-x}", {}, "x"),
        ("${A:-x}", {"A": ""}, "x"),
        ("${A-x}", {"A": ""}, ""),
        ("${A:-}/$A/${A}", {"A": "a"}, "a/a/a"),
        ("$$A $${A}", {"A": "a"}, "$A ${A}"),
        ("redis://:${P:-local-only}@redis:6379/0", {}, "redis://:local-only@redis:6379/0"),
    ],
)
def test_variables_are_replaced_as_compose_does(
    script: ModuleType, text: str, variables: dict[str, str], expected: str
) -> None:
    assert script.interpolated({"key": [text, 7, None]}, variables) == {"key": [expected, 7, None]}


def test_a_required_variable_that_is_not_set_is_an_error(script: ModuleType) -> None:
    with pytest.raises(SettingsError, match="A is not set: give one"):
        script.interpolated("${A:?give one}", {})


def test_services_start_after_what_they_depend_on(script: ModuleType) -> None:
    services = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]
    order = script.start_order(services, [])
    assert set(order) == {"redis", "object-store", "orchestrator", "worker"}
    assert set(order[:2]) == {"redis", "object-store"}
    assert script.start_order(services, ["redis"]) == ["redis"]
    with pytest.raises(SettingsError, match="no such service: nope"):
        script.start_order(services, ["nope"])


def test_every_variable_of_the_compose_files_is_in_the_example(script: ModuleType) -> None:
    example = (ROOT / "deploy" / ".env.example").read_text()
    text = "".join((ROOT / name).read_text() for name in ("docker-compose.yml", "docker-compose.gpu.yml"))
    used = {match["name"] for match in script.VARIABLE.finditer(text) if match["name"] not in (None, "NAME")}
    assert used
    assert {name for name in used if f"{name}=" not in example} == set()


@pytest.fixture
def running(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[tuple["subprocess.Popen[str]", dict[str, str]]]:
    """The script with the services that the test names, and the environment that it printed."""
    log = (tmp_path / "script.log").open("w")
    with (
        log,
        subprocess.Popen(
            [sys.executable, str(SCRIPT), "--print-env", "--data", str(tmp_path / "data"), *request.param],
            cwd=tmp_path,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
        ) as process,
    ):
        assert process.stdout is not None
        exports: dict[str, str] = {}
        for line in process.stdout:
            if line == "# up\n":
                break
            name, _, value = line.removeprefix("export ").rstrip("\n").partition("=")
            exports[name] = shlex.split(value)[0]
        assert exports, (tmp_path / "script.log").read_text()
        yield process, exports
        process.terminate()
        process.wait(90)


def store_of(exports: dict[str, str]) -> ObjectStore:
    prefix = "PROMPTMILL_S3__"
    values = {name.removeprefix(prefix).lower(): value for name, value in exports.items() if name.startswith(prefix)}
    return ObjectStore(S3Settings.model_validate(values))


@pytest.mark.integration
@pytest.mark.parametrize("running", [["redis", "object-store"]], indirect=True)
def test_redis_and_the_object_store_answer_and_end_with_ctrl_c(
    running: tuple["subprocess.Popen[str]", dict[str, str]], tmp_path: Path
) -> None:
    process, exports = running
    with Redis.from_url(exports["PROMPTMILL_REDIS__URL"], decode_responses=True) as redis:
        assert redis.ping()
        assert redis.config_get("appendonly") == {"appendonly": "yes"}
    store = store_of(exports)
    store.put("a/b", b"x")
    assert [found.key for found in store.list("")] == ["a/b"]

    children = psutil.Process(process.pid).children(recursive=True)
    assert {"redis-server", "rclone"} <= {child.name() for child in children}
    process.send_signal(signal.SIGINT)
    assert process.wait(30) == 130
    _, alive = psutil.wait_procs(children, timeout=5)
    assert alive == []


@pytest.mark.integration
@pytest.mark.engine
@pytest.mark.timeout(600)
@pytest.mark.parametrize("running", [[]], ids=["all services"], indirect=True)
@pytest.mark.skipif(not PROMPTMILL.exists(), reason="promptmill is not installed")
def test_a_submitted_manifest_is_rendered_and_fetched(
    running: tuple["subprocess.Popen[str]", dict[str, str]], tmp_path: Path
) -> None:
    _, exports = running
    outside = {name: value for name, value in os.environ.items() if not name.startswith(("PROMPTMILL_", "AWS_"))}

    def promptmill(*arguments: str) -> str:
        done = subprocess.run(
            [str(PROMPTMILL), *arguments], cwd=tmp_path, env=outside | exports, capture_output=True, text=True
        )
        logs = "".join(log.read_text()[-3000:] for log in (tmp_path / "data" / "logs").iterdir())
        assert done.returncode == 0, done.stdout + done.stderr + logs
        return done.stdout

    rows = [{"prompt": f"a lighthouse, take {number}", "model": "tiny", "steps": 2} for number in range(3)]
    manifest = tmp_path / "manifest.jsonl"
    manifest.write_text("".join(json.dumps(row | {"width": 64, "height": 64}) + "\n" for row in rows))

    promptmill("submit", str(manifest), "--job-id", "compose")
    promptmill("status", "compose", "--watch")
    promptmill("fetch", "compose", "-o", "out")

    images = sorted((tmp_path / "out").rglob("*.png"))
    assert len(images) == 3
    for path in images:
        with Image.open(path) as image:
            assert image.size == (64, 64)


@pytest.mark.integration
@pytest.mark.skipif(not shutil.which("docker"), reason="no docker client")
@pytest.mark.parametrize("files", [["docker-compose.yml"], ["docker-compose.yml", "docker-compose.gpu.yml"]])
def test_docker_accepts_the_compose_files(files: list[str]) -> None:
    if subprocess.run(["docker", "compose", "version"], capture_output=True).returncode != 0:
        pytest.skip("the docker client has no compose plugin")
    chosen = [part for name in files for part in ("-f", name)]
    done = subprocess.run(["docker", "compose", *chosen, "config", "--quiet"], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_what_the_images_are_built_from_is_in_the_build_context(script: ModuleType) -> None:
    kept = (ROOT / ".dockerignore").read_text().splitlines()
    packages = [path.parent.name for path in ROOT.glob("*/__init__.py") if path.parent.name in kept_names(kept)]
    assert set(packages) == {"schemas", "services", "orchestrator", "workers"}
    for name in ("orchestrator", "worker"):
        image = script.dockerfile(ROOT / "deploy" / "docker" / f"{name}.Dockerfile")
        assert image["ENTRYPOINT"] == ["promptmill"]
        assert image["CMD"] == [name]
        assert image["ENV"]["PROMPTMILL_DATA_DIR"] == image["WORKDIR"]


def kept_names(lines: list[str]) -> set[str]:
    return {line.removeprefix("!") for line in lines if line.startswith("!")}
