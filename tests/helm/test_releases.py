"""The official helm installs, upgrades, rolls back and uninstalls the chart against an API that stores and checks."""

import json
import shutil
import subprocess
import tempfile
import unittest
from pathlib import Path

import yaml

import tools
from api import Api

VERSION = "1.37"
NAMESPACE = "tidemark"
# What the API itself writes, and what says which revision of the release an object is of.
OF_THE_API = {"creationTimestamp", "resourceVersion", "uid"}


class Releases(unittest.TestCase):
    maxDiff = None

    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)
        self.api = Api(VERSION)
        self.api.__enter__()
        self.addCleanup(self.api.__exit__)
        (self.folder / "kubeconfig").write_text(self.api.kubeconfig())

    def run_with(self, name, *words, check=True):
        environment = {"KUBECONFIG": str(self.folder / "kubeconfig")}
        return tools.run(tools.program(name), *words, "--namespace", NAMESPACE, environment=environment, check=check)

    def helm(self, command, *words, check=True):
        return self.run_with("helm", command, *words, check=check)

    def put(self, command, chart, *values, check=True):
        """Installs or upgrades."""
        words = ["--disable-openapi-validation", "--wait=hookOnly", "--set", "image.repository=x,blobs.url=s3://files"]
        for value in values:
            words += ["--set", value]
        return self.helm(command, "tidemark", str(chart), *words, check=check)

    def chart_of_before(self):
        """No other chart was published yet, so it is this one under another version, with another image and an object less."""
        folder = self.folder / "before"
        shutil.copytree(tools.CHART, folder, symlinks=False)
        path = folder / "Chart.yaml"
        chart = yaml.safe_load(path.read_text())
        chart |= {"version": "0.0.9", "appVersion": "0.0.9"}
        path.write_text(yaml.safe_dump(chart))
        (folder / "templates" / "network-policy.yaml").unlink()
        return folder

    def objects(self):
        """All that the release has put there, without what the API writes."""
        found = {}
        for (group, resource, namespace, name), each in self.api.objects.items():
            if resource == "namespaces" or each.get("type") == "helm.sh/release.v1":
                continue
            metadata = {key: value for key, value in each["metadata"].items() if key not in OF_THE_API}
            found[(each["kind"], name)] = each | {"metadata": metadata}
        return found

    def secret(self):
        return self.api.of_kind("Secret")["tidemark-cluster"]["data"]["cluster-secret"]

    def test_a_release_from_install_to_uninstall(self):
        before, now = self.chart_of_before(), tools.CHART

        self.put("install", before)
        first, secret = self.objects(), self.secret()
        self.assertEqual(first[("StatefulSet", "tidemark")]["spec"]["template"]["spec"]["containers"][0]["image"], "x:0.0.9")
        self.assertNotIn(("NetworkPolicy", "tidemark"), first)

        # The next chart: another image, what was added, and the secret that was there.
        self.put("upgrade", now)
        image = f"x:{tools.workspace_version()}"
        second = self.objects()
        self.assertEqual(second[("StatefulSet", "tidemark")]["spec"]["template"]["spec"]["containers"][0]["image"], image)
        self.assertIn(("NetworkPolicy", "tidemark"), second)
        self.assertEqual(self.secret(), secret)
        unchanged = {"volumeClaimTemplates", "selector", "serviceName", "podManagementPolicy"}
        for field in unchanged:
            self.assertEqual(
                first[("StatefulSet", "tidemark")]["spec"][field], second[("StatefulSet", "tidemark")]["spec"][field]
            )

        # More of everything.
        self.put("upgrade", now, "nodes.replicas=5", "pools.runner.enabled=true", "monitoring.serviceMonitor.enabled=true")
        third = self.objects()
        for name in ["tidemark-3", "tidemark-4", "tidemark-runner"]:
            self.assertIn(("Certificate", name), third)
        self.assertIn(("HorizontalPodAutoscaler", "tidemark-runner"), third)
        self.assertIn(("ServiceMonitor", "tidemark"), third)
        self.assertEqual(self.secret(), secret)

        # Back to the first: everything as it was, the newer objects gone.
        self.helm("rollback", "tidemark", "1", "--wait=hookOnly")
        self.assertEqual(self.objects(), first)
        history = json.loads(self.helm("history", "tidemark", "--output", "json").stdout)
        self.assertEqual([each["status"] for each in history][-1], "deployed")
        self.assertEqual(len(history), 4)

        # Uninstalled: the secret stays, and the next release of the name takes it. (So do the volumes, which nobody but Kubernetes makes.)
        self.helm("uninstall", "tidemark", "--wait=hookOnly")
        self.assertEqual(set(self.objects()), {("Secret", "tidemark-cluster")})
        self.put("install", now)
        self.assertEqual(self.secret(), secret)
        self.assertIn(("StatefulSet", "tidemark"), self.objects())

    def test_what_can_not_be_changed_is_refused_and_changes_nothing(self):
        self.put("install", tools.CHART)
        before = self.objects()
        refused = self.put("upgrade", tools.CHART, "nodes.storage.size=40Gi", check=False)
        self.assertNotEqual(refused.returncode, 0)
        self.assertIn("volumeClaimTemplates", refused.stderr)
        stateful_set = ("StatefulSet", "tidemark")
        self.assertEqual(self.objects()[stateful_set], before[stateful_set])
        # It can go on from there.
        self.put("upgrade", tools.CHART, "nodes.minReadySeconds=20")
        self.assertEqual(self.objects()[stateful_set]["spec"]["minReadySeconds"], 20)

    def test_a_misspelt_field_is_refused_by_the_api(self):
        chart = self.chart_of_before()
        path = chart / "templates" / "nodes.yaml"
        path.write_text(path.read_text().replace("podManagementPolicy", "podManagmentPolicy"))
        refused = self.put("install", chart, check=False)
        self.assertNotEqual(refused.returncode, 0)
        self.assertIn("podManagmentPolicy", refused.stderr)

    def test_a_tool_that_renders_without_a_cluster_can_not_replace_the_secret(self):
        self.put("install", tools.CHART)
        secret = self.secret()
        rendered = tools.template("--set", "image.repository=x,blobs.url=s3://files", "--show-only", "templates/cluster-secret.yaml")
        manifest = self.folder / "secret.yaml"
        manifest.write_text(rendered.stdout)
        self.assertNotIn(secret, rendered.stdout)
        words = ["apply", "--server-side", "--force-conflicts", "--validate=false", "--filename", str(manifest)]
        refused = self.run_with("kubectl", *words, check=False)
        self.assertNotEqual(refused.returncode, 0)
        self.assertIn("immutable", refused.stderr)
        self.assertEqual(self.secret(), secret)

    def test_a_package_holds_what_the_chart_points_to(self):
        tools.run(tools.program("helm"), "package", str(tools.CHART), "--destination", str(self.folder))
        [package] = self.folder.glob("tidemark-*.tgz")
        listed = subprocess.run(["tar", "-tzf", str(package)], capture_output=True, text=True, check=True).stdout
        for folder in ["dashboards", "alerts"]:
            for path in (tools.ROOT / "deploy" / folder).iterdir():
                if path.suffix in (".json", ".yaml"):
                    self.assertIn(f"tidemark/{folder}/{path.name}\n", listed)
        # And it can be installed.
        self.put("install", package, "monitoring.dashboards.enabled=true", "monitoring.rules.enabled=true")


if __name__ == "__main__":
    unittest.main()
