"""The hub, played by a server on this machine that answers as the real one does: what comes down, and what is told."""

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from model_folders import write_model

COMMIT = "0123456789abcdef0123456789abcdef01234567"


class Hub(ThreadingHTTPServer):
    """Serves one folder as `owner/name`; `owner/gated` is gated, everything else is unknown."""

    def __init__(self, folder: Path) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.folder = folder
        self.tokens: set[str | None] = set()
        self.served: list[str] = []

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class Handler(BaseHTTPRequestHandler):
    server: Hub
    protocol_version = "HTTP/1.1"

    def do_HEAD(self) -> None:
        self._answer(body=False)

    def do_GET(self) -> None:
        self._answer(body=True)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        pass

    def _answer(self, *, body: bool) -> None:
        self.server.tokens.add(self.headers.get("Authorization"))
        path = self.path.split("?")[0]
        if "owner/gated" in path:
            return self._send(403, b"", {"X-Error-Code": "GatedRepo"}, body)
        files = sorted(file for file in self.server.folder.rglob("*") if file.is_file())
        names = [str(file.relative_to(self.server.folder)) for file in files]
        if path.startswith("/api/models/owner/name/tree"):
            tree = [
                {"type": "file", "path": name, "size": file.stat().st_size, "oid": "0" * 40}
                for name, file in zip(names, files, strict=True)
            ]
            return self._send(200, json.dumps(tree).encode(), {}, body)
        if path in ("/api/models/owner/name/revision/main", "/api/models/owner/name"):
            info = {"id": "owner/name", "sha": COMMIT, "siblings": [{"rfilename": name} for name in names]}
            return self._send(200, json.dumps(info).encode(), {}, body)
        for start in (f"/owner/name/resolve/{COMMIT}/", "/owner/name/resolve/main/"):
            if path.startswith(start) and path.removeprefix(start) in names:
                content = (self.server.folder / path.removeprefix(start)).read_bytes()
                headers = {"X-Repo-Commit": COMMIT, "ETag": f'"{sha256(content).hexdigest()}"'}
                if body:
                    self.server.served.append(path.removeprefix(start))
                return self._send(200, content, headers, body)
        return self._send(404, b"", {"X-Error-Code": "RepoNotFound"}, body)

    def _send(self, status: int, content: bytes, headers: dict[str, str], body: bool) -> None:
        self.send_response(status)
        for name, value in {"Content-Length": str(len(content)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        if body:
            self.wfile.write(content)


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[Hub]:
    server = Hub(write_model(tmp_path / "served"))
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def catalogue(tmp_path: Path) -> Path:
    path = tmp_path / "models.toml"
    tables = [
        f'[{alias}]\nsource = "owner/{alias}"\nrevision = "main"\nfamily = "sd1"\npipelines = ["txt2img"]\n{more}\n'
        for alias, more in (("name", 'variant = "fp16"'), ("gated", ""), ("unknown", ""))
    ]
    path.write_text("\n".join(tables))
    return path


def promptmill_models(*arguments: str, home: Path, catalogue: Path, hub: str, **environment: str) -> Any:
    """`promptmill models ...` in a process of its own, since the hub's library reads its settings at import."""
    code = "from workers.cli.models import models; models(prog_name='models')"
    found = subprocess.run(
        [sys.executable, "-c", code, *arguments, "--json", "--models-file", str(catalogue)],
        env={
            **{name: value for name, value in os.environ.items() if not name.startswith(("HF_", "HUGGING"))},
            "HF_HOME": str(home),
            "HF_ENDPOINT": hub,
            "HF_HUB_DISABLE_XET": "1",
            **environment,
        },
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert found.returncode in (0, 1), found.stderr
    return found.returncode, json.loads(found.stdout), found.stderr


def test_only_what_a_model_needs_comes_down(hub: Hub, tmp_path: Path, catalogue: Path) -> None:
    home = tmp_path / "home"
    status, (report,), _ = promptmill_models(
        "pull", "name", home=home, catalogue=catalogue, hub=hub.address, HF_TOKEN="hf_secret"
    )
    assert status == 0
    snapshot = Path(report["paths"]["owner/name"])
    assert snapshot.name == COMMIT
    assert sorted(str(file.relative_to(snapshot)) for file in snapshot.rglob("*") if file.is_file()) == [
        "model_index.json",
        "scheduler/scheduler_config.json",
        "tokenizer/merges.txt",
        "tokenizer/vocab.json",
        "unet/config.json",
        "unet/diffusion_pytorch_model.fp16.safetensors",
        "vae/config.json",
        "vae/diffusion_pytorch_model.safetensors",
    ]
    assert "Bearer hf_secret" in hub.tokens

    # Complete now: nothing comes again, and without a hub the cache is enough.
    served = len(hub.served)
    status, (report,), _ = promptmill_models("pull", "name", home=home, catalogue=catalogue, hub=hub.address)
    assert (status, len(hub.served)) == (0, served)
    for away in ({"HF_HUB_OFFLINE": "1"}, {}):
        status, (report,), _ = promptmill_models(
            "pull", "name", home=home, catalogue=catalogue, hub="http://127.0.0.1:9", **away
        )
        assert (status, report["ready"]) == (0, True)
    status, (report,), _ = promptmill_models("check", "name", home=home, catalogue=catalogue, hub="http://127.0.0.1:9")
    assert (status, report["ready"], report["sources"][0]["revision"]) == (0, True, COMMIT)


def test_a_half_pulled_model_is_told(hub: Hub, tmp_path: Path, catalogue: Path) -> None:
    home = tmp_path / "home"
    _, (report,), _ = promptmill_models("pull", "name", home=home, catalogue=catalogue, hub=hub.address)
    snapshot = Path(report["paths"]["owner/name"])
    (snapshot / "vae/diffusion_pytorch_model.safetensors").unlink()
    away = "http://127.0.0.1:9"
    status, (report,), _ = promptmill_models("check", "name", home=home, catalogue=catalogue, hub=away)
    assert (status, report["ready"], report["hint"]) == (1, False, "promptmill models pull name")
    assert report["sources"][0]["detail"].startswith("vae has no safetensors weights")
    status, (report,), _ = promptmill_models("pull", "name", home=home, catalogue=catalogue, hub=away)
    assert status == 1
    assert "owner/name: incomplete in the cache: vae has no safetensors weights" in report["error"]
    status, (report,), _ = promptmill_models("pull", "name", home=home, catalogue=catalogue, hub=hub.address)
    assert (status, report["ready"]) == (0, True)


def test_refusals_are_told_and_the_others_are_pulled(hub: Hub, tmp_path: Path, catalogue: Path) -> None:
    status, reports, _ = promptmill_models(
        "pull", "gated", "unknown", "name", home=tmp_path / "home", catalogue=catalogue, hub=hub.address
    )
    gated, unknown, name = reports
    assert status == 1
    assert gated["error"] == "model gated: owner/gated is gated on the hub"
    assert gated["hint"] == "accept its licence at huggingface.co/owner/gated and set HF_TOKEN"
    assert unknown["error"] == "model unknown: owner/unknown is not on the hub, or it is private"
    assert name["ready"]


def test_no_hub_and_nothing_cached(tmp_path: Path, catalogue: Path) -> None:
    status, (report,), _ = promptmill_models(
        "pull", "name", home=tmp_path / "home", catalogue=catalogue, hub="http://127.0.0.1:9"
    )
    assert status == 1
    assert "owner/name: no answer from the hub and not in the cache" in report["error"]
    assert report["hint"] == "promptmill models pull name"


def test_a_lora_is_one_file_of_its_repository(hub: Hub, tmp_path: Path) -> None:
    home = tmp_path / "home"
    header = b"{}      "
    content = len(header).to_bytes(8, "little") + header
    (hub.folder / "deep").mkdir()
    (hub.folder / "deep/ink.safetensors").write_bytes(content)
    catalogue = tmp_path / "loras.toml"
    tables = [
        f'[loras.{name}]\nsource = "owner/{repository}"\nfile = "{file}"\nrevision = "main"\nfamily = "sd1"\n'
        for name, repository, file in (
            ("ink", "name", "deep/ink.safetensors"),
            ("lost", "gated", "deep/ink.safetensors"),
        )
    ]
    catalogue.write_text("\n".join(tables))
    status, reports, _ = promptmill_models("pull", "ink", "lost", home=home, catalogue=catalogue, hub=hub.address)
    ink, lost = reports
    path = Path(ink["paths"]["owner/name"])
    assert (status, path.parents[1].name, path.read_bytes()) == (1, COMMIT, content)
    assert "owner/gated is gated on the hub" in lost["error"]
    assert hub.served == ["deep/ink.safetensors"]
    for command in ("check", "pull"):
        status, (report,), _ = promptmill_models(
            command, "ink", home=home, catalogue=catalogue, hub="http://127.0.0.1:9", HF_HUB_OFFLINE="1"
        )
        assert (status, report["ready"]) == (0, True)
    status, (report,), _ = promptmill_models("check", "lost", home=home, catalogue=catalogue, hub=hub.address)
    assert (status, report["hint"]) == (1, "promptmill models pull lost")
