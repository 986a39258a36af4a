{{/* A value as TOML has it. JSON's strings and lists of strings are TOML's. */}}
{{- define "tidemark.toml" -}}
{{- if kindIs "string" . -}}{{ . | toJson }}
{{- else if kindIs "bool" . -}}{{ . }}
{{- else if eq (float64 .) (floor .) -}}{{ int64 . }}
{{- else -}}{{ . }}
{{- end -}}
{{- end -}}

{{/*
The URL of the first of `hosts` that is a single name, or with `stars` of the first that stands for many, with {name} in place of
the star: of (root, hosts, stars).
*/}}
{{- define "tidemark.url" -}}
{{- $ingress := .root.Values.ingress -}}
{{- if $ingress.enabled -}}
{{- range $host := .hosts -}}
{{- if eq (hasPrefix "*" $host) (default false $.stars) -}}
{{- $secure := include "tidemark.hasEdgeTls" $.root -}}
{{- range $ingress.tls }}{{ if has $host .hosts }}{{ $secure = "true" }}{{ end }}{{ end -}}
{{- printf "%s://%s" (ternary "https" "http" (eq $secure "true")) ($host | replace "*" "{name}") -}}
{{- break -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* What is the same in all configuration files of a component: of (root, component). */}}
{{- define "tidemark.settings" -}}
{{- $values := .root.Values -}}
{{- $configuration := $values.configuration -}}
{{- /* Processes without a gateway can't know where clients come in, so it is always said. */ -}}
{{- $service := printf "%s://%s.%s.svc" (ternary "https" "http" (eq (include "tidemark.hasEdgeTls" .root) "true")) (include "tidemark.fullname" .root) .root.Release.Namespace -}}
{{- $cloudUrl := $configuration.cloudUrl | default (include "tidemark.url" (dict "root" .root "hosts" $values.ingress.api.hosts)) | default (printf "%s:3210" $service) -}}
{{- $siteUrl := $configuration.siteUrl | default (include "tidemark.url" (dict "root" .root "hosts" $values.ingress.site.hosts)) | default (printf "%s:3211" $service) -}}
roles = {{ include "tidemark.roles" . }}
data_dir = "/data"
host = {{ $values.listen | toJson }}
port = 3210
site_port = 3211
grpc_port = 3212
internal_port = 3213
metrics_port = 3214
cloud_url = {{ $cloudUrl | toJson }}
site_url = {{ $siteUrl | toJson }}
{{- with $configuration.deploymentUrl | default (include "tidemark.url" (dict "root" .root "hosts" $values.ingress.api.hosts "stars" true)) }}
deployment_url = {{ . | toJson }}
{{- end }}
{{- with $configuration.deploymentSiteUrl | default (include "tidemark.url" (dict "root" .root "hosts" $values.ingress.site.hosts "stars" true)) }}
deployment_site_url = {{ . | toJson }}
{{- end }}
{{- with $configuration.deploymentHosts }}
deployment_hosts = {{ . | toJson }}
{{- end }}
{{- with $values.blobs.url }}
blobs_url = {{ . | toJson }}
{{- end }}
redact_logs_to_client = {{ $configuration.redactLogsToClient }}
native_values = {{ $configuration.nativeValues }}

[cluster]
name = {{ include "tidemark.cluster" .root | toJson }}
{{- if include "tidemark.isCluster" .root }}
peers = ["dns:{{ include "tidemark.internal" .root }}.{{ .root.Release.Namespace }}.svc:3213"]
{{- end }}
voters = {{ int $values.cluster.voters }}
secret_file = "/etc/tidemark/secret/cluster-secret"

[egress]
allow = {{ $configuration.egress.allow | toJson }}
deny = {{ $configuration.egress.deny | toJson }}
deny_private = {{ $configuration.egress.denyPrivate }}
{{- with $configuration.telemetry }}
{{- if .otlpEndpoint }}

[telemetry]
otlp_endpoint = {{ .otlpEndpoint | toJson }}
sample_ratio = {{ .sampleRatio }}
fetches = {{ .fetches }}
{{- end }}
{{- end }}
{{- if include "tidemark.hasEdgeTls" .root }}

[edge_tls]
certificate = "/etc/tidemark/edge-tls/tls.crt"
key = "/etc/tidemark/edge-tls/tls.key"
{{- end }}
{{- range $group, $limits := $configuration.limits }}

[limits.{{ $group }}]
{{- range $name, $limit := $limits }}
{{ $name }} = {{ include "tidemark.toml" $limit }}
{{- end }}
{{- end }}
{{- end -}}

{{/* What is of one process: of (root, node, address, certificate). */}}
{{- define "tidemark.process" -}}
{{- $nodejs := .root.Values.configuration.nodejs }}
[node]
id = {{ .node }}
{{- with .address }}
address = {{ . | toJson }}
{{- end }}
programs = {{ $nodejs.programs | toJson }}
{{- with $nodejs.registry }}
registry = {{ . | toJson }}
{{- end }}

[tls]
ca = "/etc/tidemark/tls/ca.crt"
certificate = "/etc/tidemark/tls/{{ .certificate }}.crt"
key = "/etc/tidemark/tls/{{ .certificate }}.key"
{{- end -}}
