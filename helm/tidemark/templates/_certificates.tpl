{{/* Of (root, component, name, node, issuer). */}}
{{- define "tidemark.certificate" -}}
apiVersion: cert-manager.io/v1
kind: Certificate
metadata:
  name: {{ .name }}
  labels:
    {{- include "tidemark.labels" .root | nindent 4 }}
    app.kubernetes.io/component: {{ .component }}
spec:
  secretName: {{ .name }}-tls
  uris:
    - tidemark://{{ include "tidemark.cluster" .root }}/{{ include "tidemark.roles" . | fromJsonArray | join "+" }}/{{ .node }}
  # Each process calls and is called.
  usages: [digital signature, server auth, client auth]
  duration: {{ .root.Values.tls.certManager.duration }}
  renewBefore: {{ .root.Values.tls.certManager.renewBefore }}
  privateKey: {algorithm: ECDSA, size: 256, rotationPolicy: Always}
  issuerRef:
    {{- toYaml .issuer | nindent 4 }}
{{- end -}}

{{/*
Of (root, component): the volume with ca.crt, and a certificate and a key of each node, or of the pool: by their numbers in a
Secret of yours, else by the names of pods, so that a replaced node changes no pod but its own. All pods of a StatefulSet have the same
volumes, so a node could read the keys of the others; they may all do the same.
*/}}
{{- define "tidemark.tlsVolume" -}}
{{- $name := include "tidemark.fullname" .root -}}
{{- if not .root.Values.tls.certManager.enabled -}}
secret:
  secretName: {{ if eq .component "node" }}{{ .root.Values.tls.existingSecret }}{{ else }}{{ .settings.tlsSecret }}{{ end }}
  defaultMode: 0440
{{- else -}}
{{- $names := list (printf "%s-%s" $name .component) -}}
{{- if eq .component "node" -}}
{{- $names = list -}}
{{- range $ordinal := until (int .settings.replicas) }}{{ $names = append $names (printf "%s-%d" $name $ordinal) }}{{ end -}}
{{- end -}}
projected:
  defaultMode: 0440
  sources:
    {{- range $index, $process := $names }}
    - secret:
        name: {{ $process }}-tls
        items:
          {{- if eq $index 0 }}
          - {key: ca.crt, path: ca.crt}
          {{- end }}
          - {key: tls.crt, path: {{ $process }}.crt}
          - {key: tls.key, path: {{ $process }}.key}
    {{- end }}
{{- end -}}
{{- end -}}
