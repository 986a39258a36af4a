"""A Kubernetes API that keeps and checks objects and runs nothing: enough for the official helm and kubectl.

Objects are held against the published schemas of one version of Kubernetes, so a misspelt field is refused as a strict server would.
What a real server forbids after creation (most of a StatefulSet, a volume claim, an immutable Secret) is forbidden here, too.
"""

import base64
import copy
import datetime
import json
import re
import threading
import urllib.parse
import uuid
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import kubernetes_validate
import yaml

# What there is: of each group and version the resources, with their kinds. All but those below are in namespaces.
RESOURCES = {
    "v1": {
        "namespaces": "Namespace",
        "configmaps": "ConfigMap",
        "secrets": "Secret",
        "services": "Service",
        "serviceaccounts": "ServiceAccount",
        "pods": "Pod",
        "persistentvolumeclaims": "PersistentVolumeClaim",
    },
    "apps/v1": {"deployments": "Deployment", "statefulsets": "StatefulSet"},
    "autoscaling/v2": {"horizontalpodautoscalers": "HorizontalPodAutoscaler"},
    "networking.k8s.io/v1": {"ingresses": "Ingress", "networkpolicies": "NetworkPolicy"},
    "policy/v1": {"poddisruptionbudgets": "PodDisruptionBudget"},
    "cert-manager.io/v1": {"certificates": "Certificate", "issuers": "Issuer"},
    "monitoring.coreos.com/v1": {"prometheusrules": "PrometheusRule", "servicemonitors": "ServiceMonitor"},
}
WITHOUT_NAMESPACE = {"namespaces"}
# Their schemas are no part of Kubernetes; the tests of rendering look at them.
CUSTOM = {"cert-manager.io/v1", "monitoring.coreos.com/v1"}

# What may change in a StatefulSet.
STATEFUL_SET_MUTABLE = {
    "minReadySeconds",
    "ordinals",
    "persistentVolumeClaimRetentionPolicy",
    "replicas",
    "revisionHistoryLimit",
    "template",
    "updateStrategy",
}

PATH = re.compile(
    r"/(?:api|apis/(?P<group>[^/]+))/(?P<version>v[0-9a-z]+)"
    r"(?:/namespaces/(?P<namespace>[^/]+)(?=/))?(?:/(?P<resource>[a-z]+)(?:/(?P<name>[^/]+))?)?"
)


class Refused(Exception):
    """An answer that is no success."""

    def __init__(self, code, reason, message):
        super().__init__(message)
        self.status = {
            "kind": "Status",
            "apiVersion": "v1",
            "status": "Failure",
            "code": code,
            "reason": reason,
            "message": message,
        }


class Api:
    """The server, on a port of this machine that the system chose, from `with` to its end."""

    def __init__(self, version):
        self.version = version
        # By group and version, resource, namespace, name.
        self.objects = {}
        self.requests = []
        self._revision = 0
        self._lock = threading.Lock()
        api = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            # Head and body leave together: apart, each answer waits for the other side's acknowledgement.
            wbufsize = -1

            def answer(self):
                length = int(self.headers.get("Content-Length") or 0)
                body = self.rfile.read(length)
                with api._lock:
                    code, content = api._answer(self.command, self.path, self.headers, body)
                content = json.dumps(content).encode()
                self.send_response(code)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = answer

            def log_message(self, *_):
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever)

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def kubeconfig(self):
        """The text of a file by which helm and kubectl find it."""
        address = f"http://127.0.0.1:{self._server.server_address[1]}"
        return yaml.safe_dump(
            {
                "apiVersion": "v1",
                "kind": "Config",
                "clusters": [{"name": "stand-in", "cluster": {"server": address}}],
                "users": [{"name": "nobody", "user": {}}],
                "contexts": [{"name": "stand-in", "context": {"cluster": "stand-in", "user": "nobody"}}],
                "current-context": "stand-in",
            }
        )

    def of_kind(self, kind):
        """The objects of a kind, by name."""
        return {o["metadata"]["name"]: o for o in self.objects.values() if o["kind"] == kind}

    def _answer(self, method, target, headers, body):
        url = urllib.parse.urlsplit(target)
        query = dict(urllib.parse.parse_qsl(url.query))
        self.requests.append(f"{method} {target}")
        try:
            content = read_body(body)
            return self._route(method, url.path.rstrip("/"), query, headers, content)
        except Refused as refused:
            return refused.status["code"], refused.status

    def _route(self, method, path, query, headers, body):
        discovered = self._discover(path)
        if discovered:
            return 200, discovered
        match = PATH.fullmatch(path)
        if not match:
            raise Refused(404, "NotFound", "the server could not find the requested resource")
        group = "/".join(filter(None, (match["group"], match["version"])))
        resource, namespace, name = match["resource"], match["namespace"], match["name"]
        kind = RESOURCES.get(group, {}).get(resource)
        if not kind:
            raise Refused(404, "NotFound", f"there are no {resource} in {group}")
        if method == "GET" and not name:
            return 200, self._list(group, resource, kind, namespace, query)
        name = name or (body or {}).get("metadata", {}).get("name")
        key = (group, resource, namespace, name)
        old = self.objects.get(key)
        if method == "POST":
            if old:
                raise Refused(409, "AlreadyExists", f'{resource} "{name}" already exists')
        elif not old and not is_apply(method, headers):
            raise Refused(404, "NotFound", f'{resource} "{name}" not found')
        if method == "GET":
            return 200, old
        if method == "DELETE":
            return 200, self.objects.pop(key)
        new = merged(old, body) if method == "PATCH" and not is_apply(method, headers) else body
        new = self._checked(group, kind, namespace, old, copy.deepcopy(new))
        if query.get("dryRun") != "All":
            self.objects[key] = new
        return (200 if old else 201), new

    def _discover(self, path):
        if path == "/version":
            minor = self.version.split(".")[1]
            return {"major": "1", "minor": minor, "gitVersion": f"v{self.version}.0"}
        if path == "/api":
            return {"kind": "APIVersions", "versions": ["v1"]}
        if path == "/apis":
            groups = []
            for group in filter(lambda group: "/" in group, RESOURCES):
                name, version = group.split("/")
                version = {"groupVersion": group, "version": version}
                groups.append({"name": name, "versions": [version], "preferredVersion": version})
            return {"kind": "APIGroupList", "apiVersion": "v1", "groups": groups}
        group = path.removeprefix("/apis/").removeprefix("/api/")
        if group not in RESOURCES:
            return None
        verbs = ["create", "delete", "get", "list", "patch", "update"]
        resources = [
            {
                "name": resource,
                "singularName": kind.lower(),
                "kind": kind,
                "namespaced": resource not in WITHOUT_NAMESPACE,
                "verbs": verbs,
            }
            for resource, kind in RESOURCES[group].items()
        ]
        return {"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": group, "resources": resources}

    def _list(self, group, resource, kind, namespace, query):
        items = [
            found
            for (of_group, of_resource, of_namespace, _), found in sorted(self.objects.items(), key=str)
            if (of_group, of_resource) == (group, resource)
            and namespace in (None, of_namespace)
            and is_selected(found, query.get("labelSelector", ""))
        ]
        metadata = {"resourceVersion": str(self._revision)}
        return {"kind": f"{kind}List", "apiVersion": group, "metadata": metadata, "items": items}

    def _checked(self, group, kind, namespace, old, new):
        new = {"apiVersion": group, "kind": kind} | new
        metadata = new["metadata"] = dict(new.get("metadata", {}))
        metadata.pop("managedFields", None)
        if group not in CUSTOM:
            try:
                without_status = {key: value for key, value in new.items() if key != "status"}
                kubernetes_validate.validate(without_status, self.version, strict=True)
            except kubernetes_validate.ValidationError as error:
                place = ".".join(map(str, error.path))
                raise Refused(422, "Invalid", f"{kind} {metadata.get('name')}: {place}: {error.message}") from error
        if old:
            why = forbidden_change(kind, old, new)
            if why:
                raise Refused(422, "Invalid", f"{kind} {metadata.get('name')}: {why}")
        self._revision += 1
        kept = (old or {}).get("metadata", {})
        now = datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
        metadata["uid"] = kept.get("uid") or str(uuid.uuid4())
        metadata["creationTimestamp"] = kept.get("creationTimestamp") or now
        metadata["resourceVersion"] = str(self._revision)
        if namespace:
            metadata["namespace"] = namespace
        return new


def is_apply(method, headers):
    return method == "PATCH" and "apply-patch" in headers.get("Content-Type", "")


def forbidden_change(kind, old, new):
    """Why an object can't be changed so, if it can't."""
    if kind == "StatefulSet":
        fixed = [{k: v for k, v in o["spec"].items() if k not in STATEFUL_SET_MUTABLE} for o in (old, new)]
        if fixed[0] != fixed[1]:
            changed = sorted(k for k in fixed[0] | fixed[1] if fixed[0].get(k) != fixed[1].get(k))
            return f"updates to statefulset spec are forbidden: {', '.join(changed)}"
    if kind == "Deployment" and old["spec"]["selector"] != new["spec"]["selector"]:
        return "spec.selector: field is immutable"
    if kind in ("ConfigMap", "Secret") and old.get("immutable"):
        if old.get("data") != new.get("data") or not new.get("immutable"):
            return "data: field is immutable when `immutable` is set"
    return None


def merged(old, patch):
    """A JSON merge patch (RFC 7386); directives of strategic merges are passed over."""
    if not isinstance(patch, dict):
        return patch
    result = dict(old) if isinstance(old, dict) else {}
    for key, value in patch.items():
        if key.startswith("$"):
            continue
        if value is None:
            result.pop(key, None)
        else:
            result[key] = merged(result.get(key), value)
    return result


def is_selected(found, selector):
    """Whether labels fit: `a=b`, `a==b`, `a!=b`, `a in (b,c)`, `a notin (b,c)`, `a`."""
    labels = found["metadata"].get("labels", {})
    for term in filter(None, re.split(r",(?![^(]*\))", selector)):
        words = re.fullmatch(r"\s*(\S+)\s+(in|notin)\s+\(([^)]*)\)\s*", term)
        if words:
            values = {value.strip() for value in words[3].split(",")}
            if (labels.get(words[1]) in values) != (words[2] == "in"):
                return False
        elif "!=" in term:
            key, value = term.split("!=")
            if labels.get(key) == value:
                return False
        elif "=" in term:
            key, value = re.split("==?", term)
            if labels.get(key) != value:
                return False
        elif term.strip() not in labels:
            return False
    return True


def read_body(body):
    """JSON, YAML, or the protocol buffers in which helm writes its own Secrets."""
    if not body:
        return None
    if body.startswith(b"k8s\0"):
        return secret_of(dict(fields(body[4:]))[2])
    return yaml.safe_load(body)


def fields(message):
    """The fields of a protocol buffers message: numbers with values; messages and texts are bytes."""
    at = 0

    def number():
        nonlocal at
        value = shift = 0
        while True:
            byte = message[at]
            at += 1
            value |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                return value

    while at < len(message):
        tag = number()
        if tag & 7 == 0:
            yield tag >> 3, number()
        elif tag & 7 == 2:
            length = number()
            yield tag >> 3, message[at : at + length]
            at += length
        else:
            raise Refused(400, "BadRequest", f"wire type {tag & 7}")


def secret_of(message):
    """`Secret{1: ObjectMeta{1: name, 11: labels}, 2: data, 3: type}`."""
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"labels": {}}, "data": {}}
    for number, value in fields(message):
        if number == 1:
            for of_metadata, inner in fields(value):
                if of_metadata == 1:
                    secret["metadata"]["name"] = inner.decode()
                elif of_metadata == 11:
                    entry = dict(fields(inner))
                    secret["metadata"]["labels"][entry[1].decode()] = entry.get(2, b"").decode()
        elif number == 2:
            entry = dict(fields(value))
            secret["data"][entry[1].decode()] = base64.b64encode(entry.get(2, b"")).decode()
        elif number == 3:
            secret["type"] = value.decode()
    return secret
