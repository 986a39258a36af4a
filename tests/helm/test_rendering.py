"""What the chart becomes: by the official helm, held against golden files, Kubernetes' schemas and our own rules."""

import base64
import copy
import functools
import os
import re
import tomllib
import unittest

import kubernetes_validate
import yaml
from cloudcoil.models.cert_manager import v1 as cert_manager
from cloudcoil.models.prometheus_operator import v1 as prometheus_operator
from jsonschema import Draft202012Validator

import tools

# The oldest that Chart.yaml allows, and the newest whose schemas there are.
KUBERNETES_VERSIONS = ["1.30", "1.37"]
CUSTOM = {
    "Certificate": cert_manager.Certificate,
    "Issuer": cert_manager.Issuer,
    "PrometheusRule": prometheus_operator.PrometheusRule,
    "ServiceMonitor": prometheus_operator.ServiceMonitor,
}
SETS = sorted(path.stem for path in (tools.HERE / "values").glob("*.yaml"))
SMALLEST = ["--set", "image.repository=x", "--set", "blobs.url=s3://files"]
# A cluster secret that is made anew in each rendering.
FRESH_SECRET = re.compile(r"^(  cluster-secret: )([A-Za-z0-9+/]{43}=)$", re.MULTILINE)
# Dashboards and alerts, which another test holds against their files.
CONTENTS = re.compile(r"^(  [-a-z]+\.json: \||  groups:)\n(?:    .*\n|\n)+", re.MULTILINE)


@functools.cache
def text_of(name):
    """A set of values, rendered."""
    values = tools.HERE / "values" / f"{name}.yaml"
    return tools.template("--values", str(values)).stdout


@functools.cache
def all_of(name):
    return [each for each in yaml.load_all(text_of(name), Loader=yaml.CSafeLoader) if each]


def objects_of(name, kind=None):
    return [each for each in all_of(name) if kind in (None, each["kind"])]


def named(name, kind, object_name):
    return next(each for each in objects_of(name, kind) if each["metadata"]["name"] == object_name)


def workloads(name):
    return objects_of(name, "StatefulSet") + objects_of(name, "Deployment")


@functools.cache
def schema_of(kind):
    return closed(CUSTOM[kind].model_json_schema(by_alias=True))


def closed(schema):
    """The same schema, which refuses fields that it does not name."""
    if isinstance(schema, dict):
        if schema.get("type") == "object" and "properties" in schema:
            schema.setdefault("additionalProperties", False)
        for each in schema.values():
            closed(each)
    elif isinstance(schema, list):
        for each in schema:
            closed(each)
    return schema


def for_each_set(test):
    """Runs a test once for each set of values, which a failure names."""

    @functools.wraps(test)
    def run(self):
        for name in SETS:
            with self.subTest(values=name):
                test(self, name)

    return run


class Rendering(unittest.TestCase):
    maxDiff = None

    @for_each_set
    def test_helm_finds_no_fault(self, name):
        values = tools.HERE / "values" / f"{name}.yaml"
        done = tools.run(tools.program("helm"), "lint", "--strict", str(tools.CHART), "--values", str(values), check=False)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        self.assertNotIn("[WARNING]", done.stdout)

    @for_each_set
    def test_each_set_of_values_becomes_what_it_became_before(self, name):
        """`UPDATE_GOLDEN=1` writes the files anew; then read what changed."""
        golden = tools.HERE / "golden" / f"{name}.yaml"
        found, fresh = FRESH_SECRET.subn(r"\1MADE AT EACH RENDERING", text_of(name))
        self.assertLessEqual(fresh, 1)
        found = CONTENTS.sub(r"\1AS IN deploy/", found)
        if os.environ.get("UPDATE_GOLDEN"):
            golden.write_text(found)
        self.assertEqual(found, golden.read_text())

    @for_each_set
    def test_kubernetes_knows_every_field(self, name):
        for version in KUBERNETES_VERSIONS:
            for each in objects_of(name):
                if each["kind"] in CUSTOM:
                    continue
                # An unknown kind is an error here, too.
                kubernetes_validate.validate(each, version, strict=True)

    def test_custom_resources_have_the_fields_of_their_operators(self):
        seen = set()
        for name in SETS:
            for each in objects_of(name):
                if each["kind"] in CUSTOM:
                    seen.add(each["kind"])
                    found = Draft202012Validator(schema_of(each["kind"])).iter_errors(each)
                    errors = [error.message for error in found]
                    self.assertEqual(errors, [], f"{each['kind']} {each['metadata']['name']}")
        self.assertEqual(seen, set(CUSTOM))

    def test_a_misspelt_field_would_be_found(self):
        stateful_set = copy.deepcopy(objects_of("default", "StatefulSet")[0])
        stateful_set["spec"]["template"]["spec"]["containers"][0]["livenesProbe"] = {}
        with self.assertRaises(kubernetes_validate.ValidationError):
            kubernetes_validate.validate(stateful_set, KUBERNETES_VERSIONS[0], strict=True)
        certificate = copy.deepcopy(objects_of("default", "Certificate")[0])
        certificate["spec"]["dnsName"] = ["x"]
        self.assertTrue(list(Draft202012Validator(schema_of("Certificate")).iter_errors(certificate)))

    @for_each_set
    def test_names_are_unique(self, name):
        found = [(each["kind"], each["metadata"]["name"]) for each in objects_of(name)]
        self.assertEqual(len(found), len(set(found)))

    @for_each_set
    def test_containers_have_no_rights(self, name):
        pods = [each["spec"]["template"]["spec"] for each in workloads(name)]
        pods += [each["spec"] for each in objects_of(name, "Pod")]
        self.assertGreaterEqual(len(pods), 2)
        for pod in pods:
            self.assertTrue(pod["securityContext"]["runAsNonRoot"])
            self.assertEqual(pod["securityContext"]["seccompProfile"]["type"], "RuntimeDefault")
            self.assertFalse(pod["automountServiceAccountToken"])
            self.assertFalse(any("hostPath" in volume for volume in pod.get("volumes", [])))
            for container in pod["containers"]:
                context = container["securityContext"]
                self.assertTrue(context["readOnlyRootFilesystem"])
                self.assertFalse(context["allowPrivilegeEscalation"])
                self.assertEqual(context["capabilities"], {"drop": ["ALL"]})
                self.assertIn("requests", container["resources"])

    @for_each_set
    def test_services_policies_and_budgets_find_the_pods_that_they_should(self, name):
        labels = {each["metadata"]["name"]: each["spec"]["template"]["metadata"]["labels"] for each in workloads(name)}
        labels["test"] = objects_of(name, "Pod")[0]["metadata"]["labels"]

        def found(selector):
            return {pod for pod, has in labels.items() if selector.items() <= has.items()}

        everything = {each["metadata"]["name"] for each in workloads(name)}
        gateways = {"tidemark-gateway"} if "tidemark-gateway" in everything else set()
        if "all" in self.settings(name)["roles"]:
            gateways.add("tidemark")
        self.assertEqual(found(named(name, "Service", "tidemark")["spec"]["selector"]), gateways)
        self.assertEqual(found(named(name, "Service", "tidemark-internal")["spec"]["selector"]), everything)
        for each in objects_of(name, "NetworkPolicy"):
            self.assertEqual(found(each["spec"]["podSelector"]["matchLabels"]), everything)
        for each in workloads(name):
            self.assertEqual(found(each["spec"]["selector"]["matchLabels"]), {each["metadata"]["name"]})
            budget = named(name, "PodDisruptionBudget", each["metadata"]["name"])
            self.assertEqual(budget["spec"]["selector"], each["spec"]["selector"])
            self.assertEqual(budget["spec"]["maxUnavailable"], 1)
        for each in objects_of(name, "ServiceMonitor"):
            # The port is one of the headless service's alone.
            services = [s for s in objects_of(name, "Service") if each["spec"]["selector"]["matchLabels"].items() <= s["metadata"]["labels"].items()]
            ports = [p for s in services for p in s["spec"]["ports"] if p["name"] == each["spec"]["endpoints"][0]["port"]]
            self.assertEqual([port["port"] for port in ports], [3214])

    def settings(self, name, pod="tidemark-0"):
        config = named(name, "ConfigMap", pod.removesuffix("-0"))
        return tomllib.loads(config["data"][f"{pod}.toml"])

    @for_each_set
    def test_a_node_finds_its_own_configuration_certificate_and_address(self, name):
        stateful_set = objects_of(name, "StatefulSet")[0]
        pod = stateful_set["spec"]["template"]["spec"]
        variables = {each["name"]: each.get("value") for each in pod["containers"][0]["env"]}
        self.assertEqual(variables["TIDEMARK_CONFIG"], "/etc/tidemark/configuration/$(POD_NAME).toml")
        config = named(name, "ConfigMap", "tidemark")["data"]
        self.assertEqual(len(config), stateful_set["spec"]["replicas"])
        self.assertEqual(stateful_set["spec"]["serviceName"], "tidemark-internal")
        numbers = set()
        for ordinal in range(stateful_set["spec"]["replicas"]):
            settings = tomllib.loads(config[f"tidemark-{ordinal}.toml"])
            number = settings["node"]["id"]
            numbers.add(number)
            self.assertEqual(settings["node"]["address"], f"tidemark-{ordinal}.tidemark-internal.tidemark.svc:3213")
            file = f"tidemark-{ordinal}" if objects_of(name, "Certificate") else number
            self.assertEqual(settings["tls"]["certificate"], f"/etc/tidemark/tls/{file}.crt")
            self.assertEqual(settings["tls"]["key"], f"/etc/tidemark/tls/{file}.key")
            peers = None if name == "minimal" else ["dns:tidemark-internal.tidemark.svc:3213"]
            self.assertEqual(settings["cluster"].get("peers"), peers)
            if not objects_of(name, "Certificate"):
                continue
            certificate = named(name, "Certificate", f"tidemark-{ordinal}")["spec"]
            cluster, roles = settings["cluster"]["name"], "+".join(settings["roles"])
            self.assertEqual(certificate["uris"], [f"tidemark://{cluster}/{roles}/{number}"])
            files = [
                (item["key"], item["path"])
                for volume in pod["volumes"]
                for source in volume.get("projected", {}).get("sources", [])
                if source["secret"]["name"] == certificate["secretName"]
                for item in source["secret"]["items"]
            ]
            self.assertIn(("tls.crt", f"{file}.crt"), files)
            self.assertIn(("tls.key", f"{file}.key"), files)
        self.assertEqual(len(numbers), stateful_set["spec"]["replicas"])

    def test_a_replaced_node_has_another_number(self):
        self.assertEqual(self.settings("cert-manager")["node"]["id"], 1)
        config = named("cert-manager", "ConfigMap", "tidemark")["data"]
        self.assertEqual(tomllib.loads(config["tidemark-1.toml"])["node"]["id"], 4)

    @for_each_set
    def test_what_is_mounted_is_there(self, name):
        for each in workloads(name):
            pod = each["spec"]["template"]["spec"]
            claims = {claim["metadata"]["name"] for claim in each["spec"].get("volumeClaimTemplates", [])}
            volumes = {volume["name"] for volume in pod["volumes"]} | claims
            mounts = {mount["name"]: mount["mountPath"] for mount in pod["containers"][0]["volumeMounts"]}
            self.assertEqual(set(mounts), volumes)
            config = next(v["configMap"]["name"] for v in pod["volumes"] if v["name"] == "configuration")
            for text in named(name, "ConfigMap", config)["data"].values():
                settings = tomllib.loads(text)
                paths = [settings["data_dir"], settings["cluster"]["secret_file"]]
                paths += settings.get("tls", {}).values()
                paths += settings.get("edge_tls", {}).values()
                for path in paths:
                    self.assertTrue(any(path.startswith(mount) for mount in mounts.values()), path)

    @for_each_set
    def test_a_node_has_time_to_hand_over(self, name):
        for each in workloads(name):
            pod = each["spec"]["template"]["spec"]
            asleep = pod["containers"][0]["lifecycle"]["preStop"]["sleep"]["seconds"]
            self.assertGreaterEqual(pod["terminationGracePeriodSeconds"] - asleep, 25)

    @for_each_set
    def test_nothing_depends_on_a_quorum_but_readiness(self, name):
        for each in workloads(name):
            container = each["spec"]["template"]["spec"]["containers"][0]
            self.assertEqual(container["livenessProbe"]["httpGet"]["path"], "/livez")
            self.assertEqual(container["startupProbe"]["httpGet"]["path"], "/livez")
            self.assertEqual(container["readinessProbe"]["httpGet"]["path"], "/readyz")
        self.assertTrue(named(name, "Service", "tidemark-internal")["spec"]["publishNotReadyAddresses"])
        self.assertEqual(objects_of(name, "StatefulSet")[0]["spec"]["podManagementPolicy"], "Parallel")

    def test_a_change_of_the_configuration_is_a_change_of_the_pods(self):
        def pod(*words):
            objects = yaml.safe_load_all(tools.template(*SMALLEST, *words).stdout)
            sets = [each for each in objects if each and each["kind"] == "StatefulSet"]
            return sets[0]["spec"]["template"]

        before = pod()
        self.assertEqual(before, pod())
        self.assertNotEqual(before, pod("--set", "configuration.redactLogsToClient=false"))
        self.assertNotEqual(before, pod("--set", "configuration.limits.gateway.request_ms_max=1000"))
        # What is one node's restarts no other: while it is being replaced, the others are all there are.
        self.assertEqual(before, pod("--set", "nodes.replaced.1=4"))

    def test_numbers_reach_the_configuration_as_numbers(self):
        limits = self.settings("single-roles")["limits"]
        self.assertEqual(limits["function"]["user_time_ms_max"], 8_000)
        self.assertIsInstance(limits["log"]["batch_bytes_max"], int)
        words = ["--set", "configuration.limits.action.user_time_ms_max=9007199254740991", *SMALLEST]
        objects = yaml.safe_load_all(tools.template(*words).stdout)
        config = next(each for each in objects if each and each["kind"] == "ConfigMap")
        limits = tomllib.loads(config["data"]["tidemark-0.toml"])["limits"]
        self.assertEqual(limits["action"]["user_time_ms_max"], 9007199254740991)

    def test_traces_go_where_the_values_say(self):
        telemetry = {"otlp_endpoint": "http://collector.monitoring:4317", "sample_ratio": 0.05, "fetches": True}
        self.assertEqual(self.settings("monitoring")["telemetry"], telemetry)
        self.assertNotIn("telemetry", self.settings("default"))

    def test_addresses_of_clients_follow_the_ingress(self):
        settings = self.settings("ingress")
        self.assertEqual(settings["cloud_url"], "https://api.example.com")
        self.assertEqual(settings["site_url"], "https://site.example.com")
        self.assertEqual(settings["deployment_url"], "https://{name}.apps.example.com")
        self.assertNotIn("deployment_site_url", settings)
        self.assertEqual(self.settings("default")["cloud_url"], "http://tidemark.tidemark.svc:3210")
        self.assertEqual(self.settings("own-secrets")["site_url"], "https://tidemark.tidemark.svc:3211")
        grpc = named("ingress", "Ingress", "tidemark-grpc")
        self.assertEqual(grpc["metadata"]["annotations"], {"example.com/protocol": "GRPC", "example.com/timeout": "7200"})
        api = named("ingress", "Ingress", "tidemark-api")
        self.assertEqual([entry["secretName"] for entry in api["spec"]["tls"]], ["edge", "apps"])

    def test_a_fresh_cluster_secret_has_32_bytes_and_can_not_be_changed(self):
        secret = named("default", "Secret", "tidemark-cluster")
        self.assertEqual(len(base64.b64decode(secret["data"]["cluster-secret"])), 32)
        self.assertTrue(secret["immutable"])
        self.assertEqual(secret["metadata"]["annotations"], {"helm.sh/resource-policy": "keep"})
        self.assertEqual(objects_of("own-secrets", "Secret"), [])

    def test_dashboards_and_alerts_are_those_of_deploy(self):
        deploy = tools.ROOT / "deploy"
        packed = {
            key: value
            for each in objects_of("monitoring", "ConfigMap")
            if "-dashboard-" in each["metadata"]["name"]
            for key, value in each["data"].items()
        }
        dashboards = {path.name: path.read_text() for path in (deploy / "dashboards").glob("*.json")}
        self.assertTrue(dashboards)
        self.assertEqual({key: value.rstrip() for key, value in packed.items()}, {key: value.rstrip() for key, value in dashboards.items()})
        rules = [yaml.safe_load(path.read_text())["groups"] for path in sorted((deploy / "alerts").glob("*.yaml"))]
        self.assertTrue(rules)
        found = objects_of("monitoring", "PrometheusRule")[0]["spec"]["groups"]
        self.assertEqual(found, [group for groups in rules for group in groups])

    def test_long_names_stay_within_what_kubernetes_takes(self):
        release = "a" * 53
        objects = [each for each in yaml.safe_load_all(tools.template(*SMALLEST, release=release).stdout) if each]
        for each in objects:
            self.assertLessEqual(len(each["metadata"]["name"]), 63)
            self.assertLessEqual(max(map(len, each["metadata"].get("labels", {}).values())), 63)
        config = next(each for each in objects if each["kind"] == "ConfigMap")
        for text in config["data"].values():
            self.assertLessEqual(len(tomllib.loads(text)["cluster"]["name"]), 40)


if __name__ == "__main__":
    unittest.main()
