"""The program understands each configuration file that the chart writes, and those of the compose files."""

import os
import subprocess
import tempfile
import tomllib
import unittest
from pathlib import Path

import tools
from test_rendering import SETS, objects_of

# Refused by their contents, and with this beginning, if files are not understood.
NOT_UNDERSTOOD = "the configuration can't be used"


class Configuration(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)

    def run_with(self, command, text):
        """What the program says of a configuration. It finds neither certificates nor secrets, so it comes no further."""
        path = self.folder / "tidemark.toml"
        path.write_text(text)
        words = [os.environ["TIDEMARK_BINARY"], command, "--config", str(path), "--data-dir", str(self.folder / "data")]
        done = subprocess.run(words, capture_output=True, text=True, timeout=60, env={"PATH": os.environ["PATH"]})
        self.assertEqual(done.returncode, 2, done.stderr)
        return done.stderr

    def test_of_the_chart(self):
        seen = set()
        for name in SETS:
            for each in objects_of(name, "ConfigMap"):
                for file, text in each["data"].items():
                    if not file.endswith(".toml") or text in seen:
                        continue
                    seen.add(text)
                    with self.subTest(values=name, file=file):
                        said = self.run_with("serve", text)
                        self.assertNotIn(NOT_UNDERSTOOD, said)
                        self.assertIn("/etc/tidemark/", said)
        self.assertGreaterEqual(len(seen), 20)

    def test_of_three_zones(self):
        text = (tools.ROOT / "deploy/compose/three-zones.toml").read_text()
        said = self.run_with("serve", text)
        self.assertNotIn(NOT_UNDERSTOOD, said)
        self.assertIn("/etc/tidemark/", said)

    def test_what_is_not_understood_is_said(self):
        text = (tools.ROOT / "deploy/compose/three-zones.toml").read_text()
        self.assertIn(NOT_UNDERSTOOD, self.run_with("serve", text.replace("voters", "voter")))
        self.assertEqual(tomllib.loads(text)["cluster"]["voters"], 3)


if __name__ == "__main__":
    unittest.main()
