{{/*
The pod of a component: of (root, component, settings). `settings` is `nodes` or one of `pools`.
A node reads a configuration file of its own, by its pod's name; the processes of a pool share one.
*/}}
{{- define "tidemark.pod" -}}
{{- $root := .root -}}
{{- $values := .root.Values -}}
{{- $isNode := eq .component "node" -}}
{{- $roles := include "tidemark.roles" . | fromJsonArray -}}
metadata:
  labels:
    {{- include "tidemark.selector" $root | nindent 4 }}
    app.kubernetes.io/component: {{ .component }}
    {{- if or (has "all" $roles) (has "gateway" $roles) }}
    tidemark/serves-clients: "true"
    {{- end }}
    {{- with .settings.podLabels }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
  annotations:
    # Another configuration is another pod. What belongs to one node is left out: it concerns no other.
    tidemark/configuration: {{ printf "%s\n%s" (include "tidemark.settings" .) (toJson $values.configuration.nodejs) | sha256sum | trunc 40 }}
    {{- with .settings.podAnnotations }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
spec:
  serviceAccountName: {{ include "tidemark.serviceAccount" $root }}
  automountServiceAccountToken: false
  enableServiceLinks: false
  {{- with $values.image.pullSecrets }}
  imagePullSecrets:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  securityContext:
    {{- toYaml $values.podSecurityContext | nindent 4 }}
  terminationGracePeriodSeconds: {{ int .settings.terminationGracePeriodSeconds }}
  {{- with .settings.priorityClassName }}
  priorityClassName: {{ . }}
  {{- end }}
  {{- with .settings.nodeSelector }}
  nodeSelector:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with .settings.tolerations }}
  tolerations:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with .settings.affinity }}
  affinity:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  topologySpreadConstraints:
    - topologyKey: topology.kubernetes.io/zone
      maxSkew: 1
      whenUnsatisfiable: {{ if $isNode }}{{ .settings.spread.zones }}{{ else }}ScheduleAnyway{{ end }}
      {{- if and $isNode (eq .settings.spread.zones "DoNotSchedule") (gt (int .settings.replicas) 1) }}
      minDomains: {{ min 3 (int .settings.replicas) }}
      {{- end }}
      labelSelector:
        matchLabels:
          {{- include "tidemark.selector" $root | nindent 10 }}
          app.kubernetes.io/component: {{ .component }}
    - topologyKey: kubernetes.io/hostname
      maxSkew: 1
      whenUnsatisfiable: {{ if $isNode }}{{ .settings.spread.machines }}{{ else }}ScheduleAnyway{{ end }}
      labelSelector:
        matchLabels:
          {{- include "tidemark.selector" $root | nindent 10 }}
          app.kubernetes.io/component: {{ .component }}
  containers:
    - name: tidemark
      image: {{ include "tidemark.image" $root | quote }}
      imagePullPolicy: {{ $values.image.pullPolicy }}
      args: [serve]
      env:
        - name: POD_NAME
          valueFrom:
            fieldRef:
              fieldPath: metadata.name
        # For `tidemark cluster …` in this pod as well.
        - name: TIDEMARK_CONFIG
          value: /etc/tidemark/configuration/{{ if $isNode }}$(POD_NAME){{ else }}{{ .component }}{{ end }}.toml
        - name: TIDEMARK_NODE_ZONE
          valueFrom:
            fieldRef:
              fieldPath: {{ printf "metadata.labels['%s']" $values.zoneLabel | quote }}
        {{- if not $isNode }}
        - name: POD_IP
          valueFrom:
            fieldRef:
              fieldPath: status.podIP
        - name: TIDEMARK_NODE_ADDRESS
          value: {{ if contains ":" $values.listen }}"[$(POD_IP)]:3213"{{ else }}"$(POD_IP):3213"{{ end }}
        {{- end }}
        {{- with $values.configuration.log }}
        - name: TIDEMARK_LOG
          value: {{ . | quote }}
        {{- end }}
        {{- with $values.extraEnv }}
        {{- toYaml . | nindent 8 }}
        {{- end }}
      {{- if or $values.blobs.credentialsSecret $values.extraEnvFrom }}
      envFrom:
        {{- with $values.blobs.credentialsSecret }}
        - secretRef:
            name: {{ . }}
        {{- end }}
        {{- with $values.extraEnvFrom }}
        {{- toYaml . | nindent 8 }}
        {{- end }}
      {{- end }}
      ports:
        - {name: api, containerPort: 3210}
        - {name: site, containerPort: 3211}
        - {name: grpc, containerPort: 3212}
        - {name: internal, containerPort: 3213}
        - {name: metrics, containerPort: 3214}
      # A start is waited for; then a process that does not answer is started again, and one that is not ready gets no clients.
      # Only readiness depends on other nodes.
      startupProbe:
        httpGet: {path: /livez, port: metrics}
        periodSeconds: 2
        timeoutSeconds: 2
        failureThreshold: {{ div (add (int $values.probes.startupSecondsMax) 1) 2 }}
      livenessProbe:
        httpGet: {path: /livez, port: metrics}
        periodSeconds: 10
        timeoutSeconds: 5
        failureThreshold: {{ div (add (int $values.probes.livenessSecondsMax) 9) 10 }}
      readinessProbe:
        httpGet: {path: /readyz, port: metrics}
        periodSeconds: 2
        timeoutSeconds: 2
        failureThreshold: {{ div (add (int $values.probes.readinessSecondsMax) 1) 2 }}
      lifecycle:
        preStop:
          # Meanwhile services and proxies take the pod off their lists. Then SIGTERM: leadership is handed over, clients go elsewhere.
          sleep:
            seconds: 5
      resources:
        {{- toYaml .settings.resources | nindent 8 }}
      securityContext:
        {{- toYaml $values.containerSecurityContext | nindent 8 }}
      volumeMounts:
        - name: data
          mountPath: /data
        - name: tmp
          mountPath: /tmp
        - name: configuration
          mountPath: /etc/tidemark/configuration
          readOnly: true
        - name: cluster-secret
          mountPath: /etc/tidemark/secret
          readOnly: true
        - name: tls
          mountPath: /etc/tidemark/tls
          readOnly: true
        {{- if include "tidemark.hasEdgeTls" $root }}
        - name: edge-tls
          mountPath: /etc/tidemark/edge-tls
          readOnly: true
        {{- end }}
        {{- with $values.extraVolumeMounts }}
        {{- toYaml . | nindent 8 }}
        {{- end }}
  volumes:
    {{- if not $isNode }}
    - name: data
      emptyDir: {}
    {{- end }}
    - name: tmp
      emptyDir: {}
    - name: configuration
      configMap:
        name: {{ include "tidemark.component" . }}
    - name: cluster-secret
      secret:
        secretName: {{ include "tidemark.clusterSecret" $root }}
        # Readable for the group alone, which is that of the process.
        defaultMode: 0440
        items:
          - {key: {{ $values.cluster.secret.key }}, path: cluster-secret}
    - name: tls
      {{- include "tidemark.tlsVolume" . | nindent 6 }}
    {{- if include "tidemark.hasEdgeTls" $root }}
    - name: edge-tls
      secret:
        secretName: {{ include "tidemark.edgeTlsSecret" $root }}
        defaultMode: 0440
    {{- end }}
    {{- with $values.extraVolumes }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
{{- end -}}
