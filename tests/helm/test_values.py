"""Values: wrong ones are refused with a sentence that names them, and all are described."""

import json
import os
import re
import tempfile
import textwrap
import unittest
from pathlib import Path

import yaml

import tools

REFERENCE = tools.ROOT / "docs" / "reference" / "helm-values.md"
HOW_TOS = tools.ROOT / "docs" / "how-to"
# Each of them holds values.
YAML_BLOCK = re.compile(r"^ *```yaml\n(.*?)^ *```$", re.DOTALL | re.MULTILINE)
SCHEMA = json.loads((tools.CHART / "values.schema.json").read_text())
DEFAULTS = yaml.safe_load((tools.CHART / "values.yaml").read_text())

# Values that are wrong, and what helm must say.
REFUSED = [
    # By the schema: where it is and what is wrong with it.
    ("imag: {tag: x}", ["imag"]),
    ("nodes: {replica: 3}", ["/nodes", "replica"]),
    ("nodes: {replicas: 0}", ["/nodes/replicas", "1"]),
    ("nodes: {replicas: '3'}", ["/nodes/replicas", "string", "integer"]),
    ("cluster: {voters: 2}", ["/cluster/voters", "1, 3, 5"]),
    ("cluster: {name: Orders}", ["/cluster/name", "Orders"]),
    ("nodes: {roles: [txlog, runer]}", ["/nodes/roles/1", "runner"]),
    ("nodes: {roles: []}", ["/nodes/roles"]),
    ("nodes: {replaced: {one: 4}}", ["/nodes/replaced", "one"]),
    ("nodes: {storage: {size: 20 GB}}", ["/nodes/storage/size", "20 GB"]),
    ("nodes: {spread: {zones: Always}}", ["/nodes/spread/zones", "ScheduleAnyway"]),
    ("nodes: {terminationGracePeriodSeconds: 5}", ["/nodes/terminationGracePeriodSeconds", "30"]),
    ("pools: {mail: {enabled: true}}", ["/pools", "mail"]),
    ("pools: {runner: {autoscaling: {cpuPercent: 0}}}", ["/pools/runner/autoscaling/cpuPercent"]),
    ("image: {digest: latest}", ["/image/digest", "latest"]),
    ("image: {pullPolicy: Sometimes}", ["/image/pullPolicy", "IfNotPresent"]),
    ("tls: {certManager: {duration: 90d}}", ["/tls/certManager/duration", "90d"]),
    ("configuration: {cloudUrl: example.com}", ["/configuration/cloudUrl", "example.com"]),
    ("configuration: {deploymentUrl: https://example.com}", ["/configuration/deploymentUrl", "https://example.com"]),
    ("configuration: {telemetry: {otlpEndpoint: https://x}}", ["/configuration/telemetry/otlpEndpoint", "https://x"]),
    ("configuration: {telemetry: {sampleRatio: 2}}", ["/configuration/telemetry/sampleRatio"]),
    ("configuration: {limits: {gateway: 5}}", ["/configuration/limits/gateway", "object"]),
    ("configuration: {egress: {allow: '*'}}", ["/configuration/egress/allow", "array"]),
    ("blobs: {url: https://bucket}", ["/blobs/url", "https://bucket"]),
    ("ingress: {api: {hosts: [https://x.example]}}", ["/ingress/api/hosts/0", "https://x.example"]),
    ("ingress: {tls: [{secretName: x}]}", ["/ingress/tls/0", "hosts"]),
    ("service: {type: ExternalName}", ["/service/type", "LoadBalancer"]),
    ("extraEnv: {A: b}", ["/extraEnv", "array"]),
    # By the chart: how values go together.
    ("nodes: {replicas: 2}", ["nodes.replicas is 2 and cluster.voters 3"]),
    ("nodes: {roles: [all, runner]}", ["all is every role"]),
    ("nodes: {roles: [runner, gateway]}", ["nodes.roles must have txlog"]),
    ("nodes: {roles: [txlog, gateway, fanout]}", ["nobody has the role runner", "pools.runner"]),
    ("blobs: {url: ''}", ["blobs.url is missing"]),
    ("{nodes: {replicas: 1}, cluster: {voters: 1}, blobs: {url: ''}, pools: {blob: {enabled: true}}}", ["blobs.url is missing"]),
    ("tls: {existingSecret: own}", ["tls.certManager.enabled and tls.existingSecret exclude each other"]),
    ("tls: {certManager: {enabled: false}}", ["by certificates only", "tls.existingSecret"]),
    (
        "{tls: {certManager: {enabled: false}, existingSecret: own}, pools: {runner: {enabled: true}}}",
        ["pools.runner.tlsSecret is missing"],
    ),
    ("edgeTls: {certManager: {enabled: true}}", ["edgeTls.certManager needs issuerRef.name and dnsNames"]),
    ("ingress: {enabled: true}", ["ingress.enabled needs hosts"]),
    ("pools: {runner: {autoscaling: {minReplicas: 20}}}", ["pools.runner.autoscaling.minReplicas"]),
]


# What everybody has to say; it comes before the values of a case.
BUCKET = ["--values", str(tools.HERE / "values" / "default.yaml")]


def leaves(schema, path=()):
    """Each value that has a description: its path and its part of the schema."""
    if "$ref" in schema:
        schema = SCHEMA["$defs"][schema["$ref"].removeprefix("#/$defs/")] | schema
    if "description" in schema:
        yield path, schema
        return
    for name, each in schema.get("properties", {}).items():
        yield from leaves(each, (*path, name))


def own_leaves():
    """Those of the chart, each once: what pools have in common stands below `pools.NAME`."""
    for path, schema in leaves({**SCHEMA, "properties": {k: v for k, v in SCHEMA["properties"].items() if k != "pools"}}):
        yield path, schema
    for path, schema in leaves(SCHEMA["$defs"]["pool"]):
        yield ("pools", "NAME", *path), schema


def default_of(path):
    value = DEFAULTS
    for name in path:
        value = value["gateway" if name == "NAME" else name]
    return value


def reference():
    lines = [
        "# Values of the Helm chart",
        "",
        "What `helm install` takes with `--set` or `--values`. Names that are not here are refused, and so are values that can't be meant.",
        "Made from `values.schema.json` and `values.yaml` of the [chart](../../helm/tidemark/README.md) by `UPDATE_REFERENCE=1 cargo run -p xtask -- chart`.",
        "",
        "| value | default | what it is |",
        "|---|---|---|",
    ]
    for path, schema in own_leaves():
        if path == ("global",):
            continue
        default = default_of(path)
        shown = "" if default == "" else f"`{json.dumps(default, ensure_ascii=False)}`"
        lines.append(f"| `{'.'.join(path)}` | {shown} | {schema['description']} |")
    lines += ["", "Pools, in place of `NAME`:", "", "| pool | what it does |", "|---|---|"]
    for name, schema in SCHEMA["properties"]["pools"]["properties"].items():
        lines.append(f"| `{name}` | {schema['description']} |")
    return "\n".join(lines) + "\n"


class Values(unittest.TestCase):
    maxDiff = None

    def test_wrong_values_are_refused_by_name(self):
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "values.yaml"
            for text, expected in REFUSED:
                with self.subTest(values=text):
                    path.write_text(text)
                    done = tools.template(*BUCKET, "--values", str(path), check=False)
                    self.assertNotEqual(done.returncode, 0, "it was accepted")
                    for words in expected:
                        self.assertIn(words, done.stderr)

    def test_what_the_how_tos_say_is_accepted(self):
        blocks = [
            (page.name, textwrap.dedent(block))
            for page in sorted(HOW_TOS.glob("*.md"))
            for block in YAML_BLOCK.findall(page.read_text())
        ]
        self.assertGreaterEqual(len(blocks), 7)
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "values.yaml"
            for page, text in blocks:
                with self.subTest(page=page, values=text):
                    path.write_text(text)
                    tools.template(*BUCKET, "--values", str(path))

    def test_nodes_need_no_role_that_a_pool_has(self):
        words = [*BUCKET, "--set", "nodes.roles={txlog,gateway,fanout,blob,scheduler,search,deploy}"]
        self.assertIn("nobody has the role runner", tools.template(*words, check=False).stderr)
        tools.template(*words, "--set", "pools.runner.enabled=true")

    def test_an_old_kubernetes_is_refused(self):
        done = tools.template("--kube-version", "1.29.9", check=False)
        self.assertNotEqual(done.returncode, 0)
        self.assertIn("1.30", done.stderr)

    def test_every_value_is_described_and_has_a_default(self):
        for path, schema in own_leaves():
            with self.subTest(value=".".join(path)):
                self.assertTrue(schema["description"])
                if path != ("global",):
                    default_of(path)

    def test_every_default_is_in_the_schema(self):
        described = {path for path, _ in own_leaves()}

        def check(value, path):
            if path in described:
                return
            self.assertIsInstance(value, dict, f"{'.'.join(path)} is not described")
            for name, each in value.items():
                if path == ("pools",):
                    name = "NAME"
                check(each, (*path, name))

        check(DEFAULTS, ())

    def test_all_pools_begin_alike(self):
        self.assertEqual(list(DEFAULTS["pools"]), list(SCHEMA["properties"]["pools"]["properties"]))
        for pool in DEFAULTS["pools"].values():
            self.assertEqual(pool, DEFAULTS["pools"]["gateway"])

    def test_the_reference_is_what_the_chart_says(self):
        if os.environ.get("UPDATE_REFERENCE"):
            REFERENCE.write_text(reference())
        self.assertEqual(REFERENCE.read_text(), reference(), "UPDATE_REFERENCE=1 writes it anew")

    def test_the_chart_installs_the_version_of_this_repository(self):
        chart = yaml.safe_load((tools.CHART / "Chart.yaml").read_text())
        self.assertEqual(chart["appVersion"], tools.workspace_version())


if __name__ == "__main__":
    unittest.main()
