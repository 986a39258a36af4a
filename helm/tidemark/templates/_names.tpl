{{- define "tidemark.name" -}}
{{- .Values.nameOverride | default .Chart.Name | trunc 40 | trimSuffix "-" -}}
{{- end -}}

{{/* What everything is named by. Short enough for what is appended. */}}
{{- define "tidemark.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 40 | trimSuffix "-" -}}
{{- else -}}
{{- $name := include "tidemark.name" . -}}
{{- if contains $name .Release.Name -}}
{{- .Release.Name | trunc 40 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name $name | trunc 40 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- define "tidemark.cluster" -}}
{{- .Values.cluster.name | default (include "tidemark.fullname" .) -}}
{{- end -}}

{{/* The headless service by which processes find each other. */}}
{{- define "tidemark.internal" -}}
{{- include "tidemark.fullname" . }}-internal
{{- end -}}

{{- define "tidemark.serviceAccount" -}}
{{- if .Values.serviceAccount.create -}}
{{- .Values.serviceAccount.name | default (include "tidemark.fullname" .) -}}
{{- else -}}
{{- .Values.serviceAccount.name | default "default" -}}
{{- end -}}
{{- end -}}

{{- define "tidemark.image" -}}
{{- with .Values.image -}}
{{- if .digest -}}{{ .repository }}@{{ .digest }}{{- else -}}{{ .repository }}:{{ .tag | default $.Chart.AppVersion }}{{- end -}}
{{- end -}}
{{- end -}}

{{- define "tidemark.clusterSecret" -}}
{{- .Values.cluster.secret.existingSecret | default (printf "%s-cluster" (include "tidemark.fullname" .)) -}}
{{- end -}}

{{/* Pods of this release. */}}
{{- define "tidemark.selector" -}}
app.kubernetes.io/name: {{ include "tidemark.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "tidemark.labels" -}}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-" }}
{{ include "tidemark.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/part-of: {{ include "tidemark.name" . }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- end -}}

{{/* The names of the pools that are on, as a list in JSON. */}}
{{- define "tidemark.pools" -}}
{{- $names := list -}}
{{- range $name, $pool := .Values.pools -}}
{{- if $pool.enabled }}{{ $names = append $names $name }}{{ end -}}
{{- end -}}
{{- $names | toJson -}}
{{- end -}}

{{/* Whether there is more than one process: "true" or nothing. */}}
{{- define "tidemark.isCluster" -}}
{{- if or (gt (int .Values.nodes.replicas) 1) (include "tidemark.pools" . | fromJsonArray) }}true{{ end -}}
{{- end -}}

{{- define "tidemark.hasEdgeTls" -}}
{{- if or .Values.edgeTls.certManager.enabled .Values.edgeTls.existingSecret }}true{{ end -}}
{{- end -}}

{{- define "tidemark.edgeTlsSecret" -}}
{{- .Values.edgeTls.existingSecret | default (printf "%s-edge-tls" (include "tidemark.fullname" .)) -}}
{{- end -}}

{{/* Of (root, component): what its objects are named. The nodes have the release's own name. */}}
{{- define "tidemark.component" -}}
{{- if eq .component "node" -}}
{{- include "tidemark.fullname" .root -}}
{{- else -}}
{{- printf "%s-%s" (include "tidemark.fullname" .root) .component -}}
{{- end -}}
{{- end -}}

{{/* Of (root, component): its roles, as a list in JSON. */}}
{{- define "tidemark.roles" -}}
{{- if eq .component "node" -}}
{{- .root.Values.nodes.roles | toJson -}}
{{- else -}}
{{- list .component | toJson -}}
{{- end -}}
{{- end -}}

{{/* Of (root, ordinal): the number of the node that this pod of the StatefulSet is. */}}
{{- define "tidemark.node" -}}
{{- index .root.Values.nodes.replaced (toString .ordinal) | default (add1 .ordinal) -}}
{{- end -}}

{{/* Of (root, component): the number that the processes of a pool have. Below 1000 are nodes. */}}
{{- define "tidemark.poolNode" -}}
{{- index (dict "gateway" 1001 "fanout" 1002 "runner" 1003 "scheduler" 1004 "deploy" 1005 "blob" 1006 "search" 1007) .component -}}
{{- end -}}

{{/* Of the pod of `helm test`. */}}
{{- define "tidemark.testLabels" -}}
app.kubernetes.io/name: {{ include "tidemark.name" . }}-test
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}
