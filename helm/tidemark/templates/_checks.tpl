{{/* What the schema can't say: how values go together. One sentence each. */}}
{{- define "tidemark.checks" -}}
{{- $values := .Values -}}
{{- $pools := include "tidemark.pools" . | fromJsonArray -}}
{{- if lt (int $values.nodes.replicas) (int $values.cluster.voters) -}}
{{- fail (printf "nodes.replicas is %d and cluster.voters %d: the cluster can't begin with fewer nodes than it has voters" (int $values.nodes.replicas) (int $values.cluster.voters)) -}}
{{- end -}}
{{- if and (has "all" $values.nodes.roles) (gt (len $values.nodes.roles) 1) -}}
{{- fail "nodes.roles names all and others: all is every role" -}}
{{- end -}}
{{- if not (or (has "all" $values.nodes.roles) (has "txlog" $values.nodes.roles)) -}}
{{- fail "nodes.roles must have txlog, or all: the nodes keep the data" -}}
{{- end -}}
{{- if not (has "all" $values.nodes.roles) -}}
{{- range $role := list "runner" "fanout" "gateway" "blob" "scheduler" "search" "deploy" -}}
{{- if not (or (has $role $values.nodes.roles) (has $role $pools)) -}}
{{- fail (printf "nobody has the role %s: add it to nodes.roles or enable pools.%s" $role $role) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- if and (include "tidemark.isCluster" .) (not $values.blobs.url) -}}
{{- fail "blobs.url is missing: files and code of a cluster are in a bucket, or in a folder that all its processes share" -}}
{{- end -}}
{{- if and $values.tls.certManager.enabled $values.tls.existingSecret -}}
{{- fail "tls.certManager.enabled and tls.existingSecret exclude each other: turn cert-manager off to use certificates of yours" -}}
{{- end -}}
{{- if not (or $values.tls.certManager.enabled $values.tls.existingSecret) -}}
{{- fail "processes talk to each other by certificates only: set tls.certManager.enabled or tls.existingSecret" -}}
{{- end -}}
{{- if $values.tls.existingSecret -}}
{{- range $pool := $pools -}}
{{- if not (index $values.pools $pool).tlsSecret -}}
{{- fail (printf "pools.%s.tlsSecret is missing: with tls.existingSecret each pool has a certificate of its own, which names its role" $pool) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- if and $values.edgeTls.certManager.enabled $values.edgeTls.existingSecret -}}
{{- fail "edgeTls.certManager.enabled and edgeTls.existingSecret exclude each other" -}}
{{- end -}}
{{- if $values.edgeTls.certManager.enabled -}}
{{- if not (and $values.edgeTls.certManager.issuerRef.name $values.edgeTls.certManager.dnsNames) -}}
{{- fail "edgeTls.certManager needs issuerRef.name and dnsNames: clients trust an issuer that they know" -}}
{{- end -}}
{{- end -}}
{{- if $values.ingress.enabled -}}
{{- if not (or $values.ingress.api.hosts $values.ingress.site.hosts $values.ingress.grpc.hosts) -}}
{{- fail "ingress.enabled needs hosts: ingress.api.hosts, ingress.site.hosts or ingress.grpc.hosts" -}}
{{- end -}}
{{- end -}}
{{- range $name, $pool := $values.pools -}}
{{- if gt (int $pool.autoscaling.minReplicas) (int $pool.autoscaling.maxReplicas) -}}
{{- fail (printf "pools.%s.autoscaling.minReplicas is above its maxReplicas" $name) -}}
{{- end -}}
{{- end -}}
{{- end -}}
