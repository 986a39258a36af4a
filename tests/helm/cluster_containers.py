"""The image is built and runs; one node and three by compose, and the pods of the chart, answer a query."""

import copy
import json
import os
import shutil
import socket
import subprocess
import tempfile
import threading
import unittest
from pathlib import Path

import yaml

import containers
import tools
from containers import ask, call, push_app, wait_until

MIB = 1 << 20
API, METRICS = 3210, 3214
SUBNET = "10.213.7"
PODS = 3

engine = None


def setUpModule():
    if os.geteuid() != 0:
        raise RuntimeError("containers are run by root")
    global engine
    engine = containers.Engine()
    engine.__enter__()
    unittest.addModuleCleanup(engine.__exit__)
    engine.make_base()
    engine.build_images()


def admin_key(container):
    """As the process tells it in its data folder."""
    lines = engine.podman("exec", container, "cat", "/data/env").splitlines()
    variables = dict(line.split("=", 1) for line in lines if "=" in line)
    return variables["CONVEX_SELF_HOSTED_ADMIN_KEY"].strip("'")


class Image(unittest.TestCase):
    def test_it_is_small_and_its_process_has_no_rights(self):
        [image] = json.loads(engine.podman("image", "inspect", containers.IMAGE))
        self.assertEqual(image["Config"]["User"], "65532:65532")
        self.assertEqual(image["Config"]["Entrypoint"], ["/usr/local/bin/tidemark"])
        self.assertEqual(image["Config"]["StopSignal"], "SIGTERM")
        self.assertLess(image["Size"], 400 * MIB)
        words = ["run", "--rm", "--network", "none", "--read-only", "--cap-drop", "all", "--security-opt", "no-new-privileges"]
        version = engine.podman(*words, containers.IMAGE, "--version")
        self.assertEqual(version, f"tidemark {tools.workspace_version()}")
        status = engine.podman(*words, "--entrypoint", "cat", containers.IMAGE, "/proc/self/status")
        facts = dict(line.split(":\t") for line in status.splitlines() if ":\t" in line)
        self.assertEqual(facts["Uid"].split()[0], "65532")
        self.assertEqual(int(facts["CapEff"], 16) | int(facts["CapBnd"], 16), 0)
        self.assertEqual(facts["NoNewPrivs"], "1")

    def test_the_other_image_has_nodejs(self):
        version = engine.podman("run", "--rm", "--network", "none", "--read-only", "--entrypoint", "node", f"{containers.IMAGE}-node", "--version")
        self.assertTrue(version.startswith("v22."), version)

    def test_it_serves_on_a_root_file_system_that_can_not_be_written_to(self):
        port = free_port()
        # podman's own network would outlive it.
        engine.podman("network", "create", "alone")
        self.addCleanup(engine.podman, "network", "rm", "--force", "alone", check=False)
        words = ["run", "--detach", "--name", "alone", "--network", "alone", "--read-only", "--tmpfs", "/tmp", "--cap-drop", "all"]
        words += ["--security-opt", "no-new-privileges", "--volume", "alone:/data", "--publish", f"127.0.0.1:{port}:3210"]
        engine.podman(*words, containers.IMAGE, "dev", "--data-dir", "/data", "--host", "0.0.0.0")
        self.addCleanup(engine.podman, "volume", "rm", "--force", "alone", check=False)
        self.addCleanup(engine.podman, "rm", "--force", "--volumes", "alone")
        logs = lambda: engine.logs("alone")
        wait_until(lambda: ask(port, "/version")[0] == 200, "it serves", logs)
        push_app(engine.folder / "app-alone", f"http://127.0.0.1:{port}", admin_key("alone"))
        call(port, "mutation", "counter:add")
        # What it acknowledged is there after a stop and a start.
        engine.podman("stop", "--time", "60", "alone")
        self.assertEqual(engine.podman("inspect", "--format", "{{.State.ExitCode}}", "alone"), "0")
        engine.podman("start", "alone")
        wait_until(lambda: ask(port, "/version")[0] == 200, "it serves again", logs)
        self.assertEqual(call(port, "query", "counter:read"), 1)


class Compose(unittest.TestCase):
    def up(self, name, environment):
        folder = engine.folder / f"compose-{name}"
        shutil.copytree(tools.ROOT / "deploy/compose", folder)
        file = folder / f"{name}.yaml"
        prepared = folder / "certificates"
        if "zones" in name:
            subprocess.run([tools.ROOT / "deploy/certificates.sh", "tidemark", prepared, "1", "2", "3"], check=True)
            subprocess.run(["chown", "-R", "65532:65532", prepared], check=True)
        engine.compose(file, "up", "--detach", "--no-build", environment=environment)
        self.addCleanup(engine.compose, file, "down", "--volumes", "--timeout", "5", environment=environment)
        return file

    def test_one_node(self):
        port = free_port()
        self.up("one-node", {"API_PORT": str(port), "SITE_PORT": str(free_port())})
        [name] = engine.podman("ps", "--format", "{{.Names}}").splitlines()
        logs = lambda: engine.logs(name)
        wait_until(lambda: ask(port, "/version")[0] == 200, "it serves", logs)
        push_app(engine.folder / "app-one", f"http://127.0.0.1:{port}", admin_key(name))
        call(port, "mutation", "counter:add")
        self.assertEqual(call(port, "query", "counter:read"), 1)
        wait_until(lambda: engine.run("podman", "healthcheck", "run", name, check=False).returncode == 0, "it is healthy", logs)

    def test_three_nodes_of_which_one_is_lost(self):
        self.up("three-zones", {})
        ports = {"node-1": 3210, "node-2": 4210, "node-3": 5210}
        names = {node: name for name in engine.podman("ps", "--format", "{{.Names}}").splitlines() for node in ports if node in name}
        logs = lambda: engine.logs(*names.values())
        for port in ports.values():
            wait_until(lambda: ask(port + 4, "/readyz")[0] == 200, f"the node at {port} is ready", logs)
        push_app(engine.folder / "app-three", "http://127.0.0.1:3210", admin_key(names["node-1"]))
        call(3210, "mutation", "counter:add")
        for port in ports.values():
            self.assertEqual(call(port, "query", "counter:read"), 1)
        # Whoever it is, leader or not: the other two go on.
        for node, port in ports.items():
            engine.podman("kill", names[node])
            other = next(other for other in ports.values() if other != port)
            before = call_when_ready(other)
            wait_until(lambda: adds("127.0.0.1", other), f"writes go on without {node}", logs)
            self.assertGreater(call_when_ready(other), before)
            engine.podman("start", names[node])
            wait_until(lambda: ask(port + 4, "/readyz")[0] == 200, f"{node} is ready again", logs)
            self.assertEqual(call_when_ready(port), call_when_ready(other))


class ChartsPods(unittest.TestCase):
    """The pods that the chart asks for, made by hand: podman knows no StatefulSet. Names are those that Kubernetes' DNS would give."""

    def setUp(self):
        engine.podman("network", "create", "--subnet", f"{SUBNET}.0/24", "zones")
        self.addCleanup(engine.podman, "network", "rm", "--force", "zones", check=False)
        # Of all pods; the others' claims are their own.
        engine.podman("volume", "create", "shared")
        self.addCleanup(engine.podman, "volume", "rm", "--force", "shared", check=False)
        self.folder = Path(tempfile.mkdtemp(prefix="pods-", dir=engine.folder))
        self.make_certificates(*range(1, PODS + 1))
        self.objects = self.rendered()
        for ordinal in range(PODS):
            self.make_disk(ordinal)
            self.play(ordinal)
        for ordinal in range(PODS):
            self.wait_until_ready(ordinal)
        push_app(self.folder / "app", f"http://{address(0)}:{API}", admin_key("tidemark-0-tidemark"))

    def make_disk(self, ordinal):
        """A claim of the StatefulSet's. podman 4.3 can't play a claim a second time, so pods bring none along."""
        engine.podman("volume", "create", f"data-tidemark-{ordinal}")
        self.addCleanup(engine.podman, "volume", "rm", "--force", f"data-tidemark-{ordinal}", check=False)

    def make_certificates(self, *numbers):
        made = self.folder / "certificates"
        subprocess.run([tools.ROOT / "deploy/certificates.sh", "tidemark", made, *map(str, numbers)], check=True)
        self.files = {path.name: path.read_bytes() for path in made.iterdir() if path.name != "ca.key"}

    def rendered(self, replaced=None):
        repository, tag = containers.IMAGE.rsplit(":", 1)
        values = {
            "image": {"repository": repository, "tag": tag, "pullPolicy": "Never"},
            "cluster": {"secret": {"existingSecret": "tidemark-secrets"}},
            "tls": {"certManager": {"enabled": False}, "existingSecret": "tidemark-nodes"},
            "blobs": {"url": "file:///shared"},
            "extraVolumes": [{"name": "shared", "persistentVolumeClaim": {"claimName": "shared"}}],
            "extraVolumeMounts": [{"name": "shared", "mountPath": "/shared"}],
            # A machine of two cores stands for three.
            "nodes": {"resources": {"requests": {"cpu": "100m"}, "limits": None}, "replaced": replaced or {}},
        }
        path = self.folder / "values.yaml"
        path.write_text(yaml.safe_dump(values))
        return [each for each in yaml.safe_load_all(tools.template("--values", str(path)).stdout) if each]

    def as_pod(self, ordinal):
        """The StatefulSet's pod of that ordinal, and what it mounts. Secrets are maps here: podman 4.3 mounts Secrets as they are written, in base64."""
        stateful_set = next(each for each in self.objects if each["kind"] == "StatefulSet")
        secrets = {
            "tidemark-nodes": {name: content.decode() for name, content in self.files.items() if name.endswith((".crt", ".key"))},
            "tidemark-secrets": {"cluster-secret": self.files["cluster-secret"].hex()},
        }
        made = [each for each in self.objects if each["kind"] == "ConfigMap"]
        made += [
            {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": data} for name, data in secrets.items()
        ]
        name = f"tidemark-{ordinal}"
        template = copy.deepcopy(stateful_set["spec"]["template"])
        pod = template["spec"]
        for field in ["topologySpreadConstraints", "serviceAccountName"]:
            pod.pop(field)
        pod["hostname"] = name
        pod["hostAliases"] = self.host_aliases()
        for container in pod["containers"]:
            # podman publishes ports on the machine, and knows neither probes over HTTP nor a sleep before the end.
            for field in ["ports", "startupProbe", "livenessProbe", "readinessProbe", "lifecycle"]:
                container.pop(field)
            # It does not put variables into the values of others either.
            for variable in container["env"]:
                if "value" in variable:
                    variable["value"] = variable["value"].replace("$(POD_NAME)", name)
        for claim in stateful_set["spec"]["volumeClaimTemplates"]:
            volume = claim["metadata"]["name"]
            pod["volumes"].append({"name": volume, "persistentVolumeClaim": {"claimName": f"{volume}-{name}"}})
        for volume in pod["volumes"]:
            if "secret" in volume:
                secret = volume.pop("secret")
                volume["configMap"] = {"name": secret["secretName"]} | ({"items": secret["items"]} if "items" in secret else {})
        template["metadata"]["name"] = name
        # As Kubernetes labels it from 1.35 on.
        template["metadata"]["labels"]["topology.kubernetes.io/zone"] = f"zone-{ordinal}"
        return [*made, {"apiVersion": "v1", "kind": "Pod", **template}]

    def host_aliases(self):
        domain = "tidemark-internal.tidemark.svc"
        own = [
            {"ip": address(ordinal), "hostnames": [f"tidemark-{ordinal}.{domain}", f"tidemark-{ordinal}.tidemark-internal"]}
            for ordinal in range(PODS)
        ]
        # The headless service's name stands for all, the service's for one.
        shared = [{"ip": address(ordinal), "hostnames": [domain]} for ordinal in range(PODS)]
        return own + shared + [{"ip": address(0), "hostnames": ["tidemark"]}]

    def play(self, ordinal):
        self.play_file(f"tidemark-{ordinal}", self.as_pod(ordinal), address(ordinal))

    def play_file(self, name, objects, ip):
        path = self.folder / f"{name}.yaml"
        path.write_text(yaml.safe_dump_all(objects))
        self.addCleanup(engine.podman, "kube", "down", path, check=False)
        engine.podman("kube", "play", "--network", "zones", "--ip", ip, path)

    def stop(self, ordinal):
        """As Kubernetes stops a pod. Its volume stays."""
        engine.podman("pod", "stop", "--time", "90", f"tidemark-{ordinal}")
        code = engine.podman("inspect", "--format", "{{.State.ExitCode}}", f"tidemark-{ordinal}-tidemark")
        self.assertEqual(code, "0", engine.logs(f"tidemark-{ordinal}-tidemark"))
        engine.podman("kube", "down", self.folder / f"tidemark-{ordinal}.yaml")

    def wait_until_ready(self, ordinal):
        logs = lambda: engine.logs(*(f"tidemark-{each}-tidemark" for each in range(PODS)))
        wait_until(lambda: ask(METRICS, "/readyz", host=address(ordinal))[0] == 200, f"pod {ordinal} is ready", logs)

    def in_first_pod(self, *words):
        return engine.podman("exec", "tidemark-0-tidemark", "tidemark", *words)

    def test_they_run_and_the_gateway_among_them_answers(self):
        call(API, "mutation", "counter:add", host=address(1))
        for ordinal in range(PODS):
            self.assertEqual(call(API, "query", "counter:read", host=address(ordinal)), 1)
        self.helm_test()

    def helm_test(self):
        """The pod of `helm test`, beside them."""
        pod = next(each for each in self.objects if each["kind"] == "Pod")
        pod["spec"]["hostAliases"] = self.host_aliases()
        pod["spec"]["containers"][0].pop("resources")
        self.play_file("test", [pod], address(9))
        container = f"{pod['metadata']['name']}-test"
        self.assertEqual(engine.podman("wait", container), "0", engine.logs(container))
        answers = engine.logs(container).splitlines()
        self.assertEqual(len(answers), PODS + 1)
        self.assertTrue(all(line.endswith(": 200") for line in answers), answers)

    def test_they_are_replaced_one_by_one_and_no_request_fails(self):
        """docs/how-to/upgrade.md: from the last to the first, as a rolling update goes."""
        written = 0
        for ordinal in reversed(range(PODS)):
            with Writer(address((ordinal + 1) % PODS)) as writer:
                self.stop(ordinal)
                self.play(ordinal)
                self.wait_until_ready(ordinal)
            self.assertEqual(writer.failures, [])
            self.assertGreater(writer.written, 0)
            written += writer.written
        for ordinal in range(PODS):
            self.assertEqual(call(API, "query", "counter:read", host=address(ordinal)), written)

    def test_one_that_has_lost_its_disk_is_replaced(self):
        """docs/how-to/replace-a-node.md, step by step."""
        call(API, "mutation", "counter:add", host=address(1))
        self.make_certificates(11)
        self.objects = self.rendered(replaced={"1": 11})
        self.stop(1)
        engine.podman("volume", "rm", "data-tidemark-1")
        self.make_disk(1)
        self.play(1)
        wait_until(lambda: ask(METRICS, "/livez", host=address(1))[0] == 200, "the new node lives")
        self.assertEqual(ask(METRICS, "/readyz", host=address(1))[0], 503)
        place = ["--at", "tidemark-1.tidemark-internal.tidemark.svc:3213", "--zone", "zone-1", "--instead-of", "2"]
        said = ""

        def added():
            # A node that has just begun may not answer in time; then the command is given again.
            nonlocal said
            done = engine.run("podman", "exec", "tidemark-0-tidemark", "tidemark", "cluster", "add-node", "11", *place, check=False)
            said = done.stdout + done.stderr
            return done.returncode == 0

        wait_until(added, "it is added", lambda: said)
        self.wait_until_ready(1)
        for group in json.loads(self.in_first_pod("cluster", "status", "--json"))["groups"]:
            self.assertEqual(sorted(member["node"] for member in group["members"]), [1, 3, 11])
        self.assertEqual(call(API, "query", "counter:read", host=address(1)), 1)
        # It has a say: another one may be lost now.
        engine.podman("pod", "kill", "tidemark-2")
        wait_until(lambda: adds(address(1)), "writes go on without the third")


class Writer:
    """Writes at an address, one write after the other, from `with` to its end."""

    def __init__(self, host):
        self.host, self.written, self.failures = host, 0, []
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._write)

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._over.set()
        self._thread.join()

    def _write(self):
        while not self._over.wait(0.02):
            try:
                call(API, "mutation", "counter:add", host=self.host)
                self.written += 1
            except RuntimeError as error:
                self.failures.append(str(error))


def adds(host, port=API):
    try:
        call(port, "mutation", "counter:add", host=host)
        return True
    except RuntimeError:
        return False


def address(ordinal):
    return f"{SUBNET}.{10 + ordinal}"


def call_when_ready(port):
    value = None

    def answers():
        nonlocal value
        try:
            value = call(port, "query", "counter:read")
            return True
        except RuntimeError:
            return False

    wait_until(answers, f"the node at {port} answers")
    return value


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


if __name__ == "__main__":
    unittest.main()
