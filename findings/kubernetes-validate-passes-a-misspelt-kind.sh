#!/usr/bin/env bash
# PyPI kubernetes-validate 1.37.0: a manifest of a kind that does not exist passes, whatever else is wrong in it, also with --strict.
#
# The guess: a validator fails for what Kubernetes would refuse ("no matches for kind"), as it does for a misspelt field and even for a kind in
# lower case; whoever wants custom resources to pass says so, as kubeconform has -ignore-missing-schemas for it.
# What happens: no schema is found for the kind, which is a warning and exit code 0. So `Deploymnet` passes, and so do a version that was removed
# (`extensions/v1beta1`) and a `List`, of whose items none is looked at: `replicas: three` in them is not seen.
# What follows: treat each "Couldn't find schema" as a failure, or call the function `validate`, which raises SchemaNotFoundError.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv environment
environment/bin/pip install --quiet --disable-pip-version-check kubernetes-validate==1.37.0
deployment() {
  cat <<YAML
apiVersion: $1
kind: $2
metadata: {name: example}
spec:
  replicas: $3
  selector: {matchLabels: {app: example}}
  template: {metadata: {labels: {app: example}}, spec: {containers: [{name: example, image: example}]}}
YAML
}
deployment apps/v1 Deployment 3 >right.yaml
deployment apps/v1 Deployment three >wrong-field.yaml
deployment apps/v1 deployment 3 >lower-case.yaml
deployment apps/v1 Deploymnet three >misspelt.yaml
deployment extensions/v1beta1 Deployment three >removed.yaml
{ printf 'apiVersion: v1\nkind: List\nitems:\n'; deployment apps/v1 Deployment three | sed '1s/^/  - /; 2,$s/^/    /'; } >list.yaml
seen=""
for name in right wrong-field lower-case misspelt removed list; do
  code=0
  environment/bin/kubernetes-validate -k 1.37 --strict "$name.yaml" || code=$?
  seen+="$name $code "
done
echo "$seen"
test "$seen" = "right 0 wrong-field 1 lower-case 1 misspelt 0 removed 0 list 0 "
echo "as found"
