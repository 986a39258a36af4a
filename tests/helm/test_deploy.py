"""What is in deploy/, as far as it can be looked at without running it."""

import re
import subprocess
import sys
import tempfile
import tomllib
import unittest
from pathlib import Path

import yaml

import tools

DEPLOY = tools.ROOT / "deploy"
PROGRAMS = Path(sys.prefix) / "bin"


def run(*words, **options):
    return subprocess.run([str(word) for word in words], capture_output=True, text=True, timeout=120, **options)


class Image(unittest.TestCase):
    def test_the_linter_finds_no_fault(self):
        # DL3008: versions of Debian's packages are those of the base.
        done = run(PROGRAMS / "hadolint", "--ignore", "DL3008", DEPLOY / "Containerfile")
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)

    def test_the_compiler_is_the_one_of_the_workspace(self):
        workspace = tomllib.loads((tools.ROOT / "Cargo.toml").read_text())["workspace"]["package"]
        self.assertIn(f"rust:{workspace['rust-version']}-bookworm", (DEPLOY / "Containerfile").read_text())

    def test_it_is_built_with_what_setup_installs(self):
        setup = (tools.ROOT / "xtask/src/setup.rs").read_text()
        file = (DEPLOY / "Containerfile").read_text()
        packages = re.search(r"^const PACKAGES: .*?^];", setup, re.DOTALL | re.MULTILINE)[0]
        names = re.findall(r'^    \("([^"]+)"', packages, re.MULTILINE)
        folders = re.findall(r'"([^"]+)"', re.search(r"^const NODE_FOLDERS: .*", setup, re.MULTILINE)[0])
        self.assertGreaterEqual(min(len(names), len(folders)), 3)
        for name in names + folders:
            self.assertIn(f" {name}", file)


class Compose(unittest.TestCase):
    def files(self):
        for path in sorted((DEPLOY / "compose").glob("*.yaml")):
            yield path, yaml.safe_load(path.read_text())

    def test_containers_have_no_rights_and_time_to_stop(self):
        for path, file in self.files():
            for service in file["services"].values():
                self.assertTrue(service["read_only"])
                self.assertEqual(service["cap_drop"], ["ALL"])
                self.assertIn("no-new-privileges", service["security_opt"])
                self.assertGreaterEqual(int(service["stop_grace_period"].removesuffix("s")), 30)
                # Nothing is served to more than this machine, unless somebody says so.
                for port in service["ports"]:
                    self.assertTrue(port.startswith("127.0.0.1:"), port)

    def test_the_image_is_the_one_of_this_version(self):
        for path, file in self.files():
            for service in file["services"].values():
                self.assertEqual(service["image"], f"${{TIDEMARK_IMAGE:-tidemark:{tools.workspace_version()}}}")

    def test_what_a_service_names_is_there(self):
        for path, file in self.files():
            volumes = set(file.get("volumes", {}))
            for service in file["services"].values():
                for mount in service["volumes"]:
                    source = mount.split(":")[0]
                    if source.startswith("./"):
                        made = source.startswith("./certificates/")
                        self.assertTrue(made or (path.parent / source).exists(), source)
                    else:
                        self.assertIn(source, volumes)

    def test_settings_are_toml(self):
        for path in (DEPLOY / "compose").glob("*.toml"):
            self.assertEqual(tomllib.loads(path.read_text())["data_dir"], "/data")


class Certificates(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name) / "certificates"

    def make(self, *words):
        return run(DEPLOY / "certificates.sh", *words)

    def contents(self):
        return {path.name: path.read_bytes() for path in self.folder.iterdir()}

    def test_each_process_gets_a_certificate_that_names_it(self):
        done = self.make("orders", self.folder, "1", "1003=runner+fanout")
        self.assertEqual(done.returncode, 0, done.stderr)
        files = self.contents()
        expected = {"ca.crt", "ca.key", "cluster-secret", "1.crt", "1.key", "1003.crt", "1003.key"}
        # openssl's own note of serial numbers.
        self.assertEqual(set(files) - {"ca.srl"}, expected)
        self.assertEqual(len(files["cluster-secret"]), 32)
        for number, roles in [("1", "all"), ("1003", "runner+fanout")]:
            text = run("openssl", "x509", "-in", self.folder / f"{number}.crt", "-noout", "-text").stdout
            self.assertEqual(text.count("URI:"), 1)
            self.assertIn(f"URI:tidemark://orders/{roles}/{number}\n", text)
            self.assertIn("TLS Web Server Authentication, TLS Web Client Authentication", text)
            self.assertIn("CA:FALSE", text)
            for purpose in ["sslserver", "sslclient"]:
                words = ["-purpose", purpose, "-CAfile", self.folder / "ca.crt", self.folder / f"{number}.crt"]
                verified = run("openssl", "verify", *words)
                self.assertEqual(verified.returncode, 0, verified.stderr)
        for path in self.folder.iterdir():
            self.assertEqual(path.stat().st_mode & 0o077, 0, path.name)

    def test_what_is_there_stays(self):
        self.assertEqual(self.make("orders", self.folder, "1").returncode, 0)
        before = self.contents()
        self.assertEqual(self.make("orders", self.folder, "1", "2").returncode, 0)
        after = self.contents()
        self.assertIn("2.crt", after)
        for name, content in before.items():
            if name != "ca.srl":
                self.assertEqual(after[name], content, name)

    def test_what_names_no_process_is_refused(self):
        for words in [["orders", self.folder], ["Orders", self.folder, "1"], ["orders", self.folder, "0"], ["orders", self.folder, "1=a b"]]:
            done = self.make(*words)
            self.assertEqual(done.returncode, 2, words)
            self.assertTrue(done.stderr)
        self.assertFalse(self.folder.exists())


if __name__ == "__main__":
    unittest.main()
