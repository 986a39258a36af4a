"""The image is built and runs; one node and three by compose, and the pods of the chart, answer a query."""

import copy
import json
import os
import shutil
import socket
import subprocess
import unittest

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
        words = ["run", "--rm", "--read-only", "--cap-drop", "all", "--security-opt", "no-new-privileges"]
        version = engine.podman(*words, containers.IMAGE, "--version")
        self.assertEqual(version, f"tidemark {tools.workspace_version()}")
        status = engine.podman(*words, "--entrypoint", "cat", containers.IMAGE, "/proc/self/status")
        facts = dict(line.split(":\t") for line in status.splitlines() if ":\t" in line)
        self.assertEqual(facts["Uid"].split()[0], "65532")
        self.assertEqual(int(facts["CapEff"], 16) | int(facts["CapBnd"], 16), 0)
        self.assertEqual(facts["NoNewPrivs"], "1")

    def test_the_other_image_has_nodejs(self):
        version = engine.podman("run", "--rm", "--read-only", "--entrypoint", "node", f"{containers.IMAGE}-node", "--version")
        self.assertTrue(version.startswith("v22."), version)

    def test_it_serves_on_a_root_file_system_that_can_not_be_written_to(self):
        port = free_port()
        words = ["run", "--detach", "--name", "alone", "--read-only", "--tmpfs", "/tmp", "--cap-drop", "all"]
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
        for number, (node, port) in enumerate(ports.items(), start=2):
            engine.podman("kill", names[node])
            other = next(other for other in ports.values() if other != port)

            def writes():
                try:
                    call(other, "mutation", "counter:add")
                    return True
                except RuntimeError:
                    return False

            before = call_when_ready(other)
            wait_until(writes, f"writes go on without {node}", logs)
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
        self.folder = engine.folder / "pods"
        self.folder.mkdir()
        made = self.folder / "certificates"
        numbers = [str(number) for number in range(1, PODS + 1)]
        subprocess.run([tools.ROOT / "deploy/certificates.sh", "tidemark", made, *numbers], check=True)
        self.files = {path.name: path.read_bytes() for path in made.iterdir() if path.name != "ca.key"}

    def rendered(self):
        repository, tag = containers.IMAGE.rsplit(":", 1)
        values = {
            "image": {"repository": repository, "tag": tag, "pullPolicy": "Never"},
            "cluster": {"secret": {"existingSecret": "tidemark-secrets"}},
            "tls": {"certManager": {"enabled": False}, "existingSecret": "tidemark-nodes"},
            "blobs": {"url": "file:///shared"},
            "extraVolumes": [{"name": "shared", "persistentVolumeClaim": {"claimName": "shared"}}],
            "extraVolumeMounts": [{"name": "shared", "mountPath": "/shared"}],
            # A machine of two cores stands for three.
            "nodes": {"resources": {"requests": {"cpu": "100m"}, "limits": None}},
        }
        path = self.folder / "values.yaml"
        path.write_text(yaml.safe_dump(values))
        return [each for each in yaml.safe_load_all(tools.template("--values", str(path)).stdout) if each]

    def as_pods(self, objects):
        """The StatefulSet as pods, and what they mount. Secrets are maps here: podman 4.3 mounts Secrets as they are written, in base64."""
        stateful_set = next(each for each in objects if each["kind"] == "StatefulSet")
        secrets = {
            "tidemark-nodes": {name: content.decode() for name, content in self.files.items() if name.endswith((".crt", ".key"))},
            "tidemark-secrets": {"cluster-secret": self.files["cluster-secret"].hex()},
        }
        made = [each for each in objects if each["kind"] == "ConfigMap"]
        made += [
            {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": data} for name, data in secrets.items()
        ]
        names = []
        for ordinal in range(stateful_set["spec"]["replicas"]):
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
                claimed = f"{claim['metadata']['name']}-{name}"
                made.append(
                    {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": claimed}, "spec": claim["spec"]}
                )
                pod["volumes"].append({"name": claim["metadata"]["name"], "persistentVolumeClaim": {"claimName": claimed}})
            for volume in pod["volumes"]:
                if "secret" in volume:
                    secret = volume.pop("secret")
                    volume["configMap"] = {"name": secret["secretName"]} | ({"items": secret["items"]} if "items" in secret else {})
            template["metadata"]["name"] = name
            # As Kubernetes labels it from 1.35 on.
            template["metadata"]["labels"]["topology.kubernetes.io/zone"] = f"zone-{ordinal}"
            names.append((name, {"apiVersion": "v1", "kind": "Pod", **template}))
        return made, names

    def host_aliases(self):
        domain = "tidemark-internal.tidemark.svc"
        own = [
            {"ip": address(ordinal), "hostnames": [f"tidemark-{ordinal}.{domain}", f"tidemark-{ordinal}.tidemark-internal"]}
            for ordinal in range(PODS)
        ]
        # The headless service's name stands for all, the service's for one.
        shared = [{"ip": address(ordinal), "hostnames": [domain]} for ordinal in range(PODS)]
        return own + shared + [{"ip": address(0), "hostnames": ["tidemark"]}]

    def play(self, name, made, pod, ordinal):
        path = self.folder / f"{name}.yaml"
        path.write_text(yaml.safe_dump_all([*made, pod]))
        words = ["kube", "play", "--network", "zones", "--ip", address(ordinal), path]
        self.addCleanup(engine.podman, "kube", "down", path, check=False)
        engine.podman(*words)

    def test_they_run_and_the_gateway_among_them_answers(self):
        objects = self.rendered()
        made, pods = self.as_pods(objects)
        for ordinal, (name, pod) in enumerate(pods):
            claim = [each for each in made if each["kind"] != "PersistentVolumeClaim" or each["metadata"]["name"] == f"data-{name}"]
            self.play(name, claim, pod, ordinal)
        logs = lambda: engine.logs(*(f"{name}-tidemark" for name, _ in pods))
        for ordinal in range(PODS):
            wait_until(lambda: ask(METRICS, "/readyz", host=address(ordinal))[0] == 200, f"pod {ordinal} is ready", logs)
        push_app(self.folder / "app", f"http://{address(0)}:{API}", admin_key("tidemark-0-tidemark"))
        call(API, "mutation", "counter:add", host=address(1))
        for ordinal in range(PODS):
            self.assertEqual(call(API, "query", "counter:read", host=address(ordinal)), 1)
        self.helm_test(objects)

    def helm_test(self, objects):
        """The pod of `helm test`, beside them."""
        pod = next(each for each in objects if each["kind"] == "Pod")
        pod["spec"]["hostAliases"] = self.host_aliases()
        pod["spec"]["containers"][0].pop("resources")
        self.play("test", [], pod, 9)
        container = f"{pod['metadata']['name']}-test"
        self.assertEqual(engine.podman("wait", container), "0", engine.logs(container))
        answers = engine.logs(container).splitlines()
        self.assertEqual(len(answers), PODS + 1)
        self.assertTrue(all(line.endswith(": 200") for line in answers), answers)


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
