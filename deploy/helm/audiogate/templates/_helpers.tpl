{{- define "audiogate.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" }}
{{- end }}

{{- define "audiogate.fullname" -}}
{{- if .Values.fullnameOverride }}
{{- .Values.fullnameOverride | trunc 50 | trimSuffix "-" }}
{{- else if contains (include "audiogate.name" .) .Release.Name }}
{{- .Release.Name | trunc 50 | trimSuffix "-" }}
{{- else }}
{{- printf "%s-%s" .Release.Name (include "audiogate.name" .) | trunc 50 | trimSuffix "-" }}
{{- end }}
{{- end }}

{{- define "audiogate.selector" -}}
app.kubernetes.io/name: {{ include "audiogate.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "audiogate.labels" -}}
{{ include "audiogate.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{- end }}

{{/* A label of sidecars' pods, by which the PodMonitor finds them. */}}
{{- define "audiogate.sidecarLabels" -}}
audiogate/sidecar: {{ .Release.Name | quote }}
{{- end }}

{{/* The settings: what the mode needs, and over it what the user says. */}}
{{- define "audiogate.settings" -}}
{{- $edge := eq .Values.mode "edge" }}
{{- $base := dict
  "listen" (ternary ":8787" "127.0.0.1:8787" $edge)
  "ops" (dict "listen" ":8788")
  "records" (ternary (dict "store" "sqlite:/var/lib/audiogate/audiogate.db") (dict "store" "none") $edge)
  "replay" (dict "directory" "/var/spool/audiogate" "total" (ternary 1073741824 268435456 $edge))
  "drain" (ternary (dict "delay" 5 "timeout" 300) (dict "delay" 0 "timeout" 20) $edge)
}}
{{- if not $edge }}
{{- $_ := set $base "limits" (dict "max_in_flight" 100) }}
{{- end }}
{{- $settings := mustMergeOverwrite $base (deepCopy .Values.config) }}
{{- toYaml $settings }}
{{- end }}

{{/* The port of an address like :8788 or 0.0.0.0:8788. */}}
{{- define "audiogate.port" -}}
{{- regexFind "[0-9]+$" . }}
{{- end }}

{{/* Seconds from the order to stop to the last record: a margin of 20 for requests that are cut and for the store. */}}
{{- define "audiogate.grace" -}}
{{- $drain := (include "audiogate.settings" . | fromYaml).drain }}
{{- $edge := eq .Values.mode "edge" }}
{{- $before := ternary .Values.preStopSeconds .Values.sidecar.appSeconds $edge }}
{{- add $before (ceil $drain.delay) (ceil $drain.timeout) 20 }}
{{- end }}

{{- define "audiogate.image" -}}
{{- if .Values.image.digest }}
{{- printf "%s@%s" .Values.image.repository .Values.image.digest }}
{{- else }}
{{- printf "%s:%s" .Values.image.repository (default .Chart.AppVersion .Values.image.tag) }}
{{- end }}
{{- end }}

{{/* Name and image of the container, and all that does not depend on its place in the pod. */}}
{{- define "audiogate.container" -}}
{{- $settings := include "audiogate.settings" . | fromYaml }}
{{- $edge := eq .Values.mode "edge" }}
{{- $ops := ternary "ops" "audiogate-ops" $edge }}
{{- $scheme := ternary "HTTPS" "HTTP" (not (empty (dig "tls" "" $settings.ops))) -}}
name: {{ ternary "gateway" "audiogate" $edge }}
image: {{ include "audiogate.image" . }}
imagePullPolicy: {{ .Values.image.pullPolicy }}
args: {{ toJson (concat (list "serve" "--log-format" "json") .Values.extraArgs) }}
ports:
  {{- if $edge }}
  - name: http
    containerPort: {{ include "audiogate.port" $settings.listen }}
  {{- end }}
  - name: {{ $ops }}
    containerPort: {{ include "audiogate.port" $settings.ops.listen }}
env:
  - name: AUDIOGATE_CONFIG
    value: /etc/audiogate/audiogate.yaml
  {{- if .Values.opsToken.existingSecret }}
  - name: AUDIOGATE_OPS__TOKEN
    valueFrom:
      secretKeyRef:
        name: {{ .Values.opsToken.existingSecret }}
        key: {{ .Values.opsToken.key }}
  {{- end }}
  {{- if .Values.store.existingSecret }}
  - name: AUDIOGATE_RECORDS__STORE_FILE
    value: /run/secrets/audiogate-store/{{ .Values.store.key }}
  {{- end }}
  {{- with .Values.extraEnv }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- with .Values.extraEnvFrom }}
envFrom:
  {{- toYaml . | nindent 2 }}
{{- end }}
startupProbe:
  httpGet: {path: /readyz, port: {{ $ops }}, scheme: {{ $scheme }}}
  periodSeconds: 1
  failureThreshold: 30
{{- if $edge }}
readinessProbe:
  httpGet: {path: /readyz, port: {{ $ops }}, scheme: {{ $scheme }}}
  periodSeconds: 5
  failureThreshold: 1
{{- end }}
livenessProbe:
  httpGet: {path: /livez, port: {{ $ops }}, scheme: {{ $scheme }}}
  periodSeconds: 10
  timeoutSeconds: 5
  failureThreshold: 6
{{- if $edge }}
lifecycle:
  preStop:
    sleep: {seconds: {{ .Values.preStopSeconds }}}
{{- else if not .Values.sidecar.native }}
lifecycle:
  preStop:
    sleep: {seconds: {{ max 1 .Values.sidecar.appSeconds }}}
{{- end }}
resources:
  {{- if .Values.resources }}
  {{- toYaml .Values.resources | nindent 2 }}
  {{- else if $edge }}
  requests: {cpu: 500m, memory: 256Mi, ephemeral-storage: 256Mi}
  limits: {memory: 1536Mi}
  {{- else }}
  requests: {cpu: 100m, memory: 96Mi, ephemeral-storage: 64Mi}
  limits: {memory: 256Mi}
  {{- end }}
securityContext:
  runAsNonRoot: true
  runAsUser: 65532
  runAsGroup: 65532
  allowPrivilegeEscalation: false
  readOnlyRootFilesystem: true
  capabilities: {drop: [ALL]}
  seccompProfile: {type: RuntimeDefault}
volumeMounts:
  - {name: audiogate-settings, mountPath: /etc/audiogate, readOnly: true}
  - {name: audiogate-data, mountPath: /var/lib/audiogate}
  - {name: audiogate-spool, mountPath: /var/spool/audiogate}
  - {name: audiogate-tmp, mountPath: /tmp}
  {{- if .Values.existingSecret }}
  - {name: audiogate-secrets, mountPath: /run/secrets/audiogate, readOnly: true}
  {{- end }}
  {{- if .Values.store.existingSecret }}
  - {name: audiogate-store, mountPath: /run/secrets/audiogate-store, readOnly: true}
  {{- end }}
  {{- with .Values.extraVolumeMounts }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- end }}

{{- define "audiogate.volumes" -}}
- name: audiogate-settings
  configMap:
    name: {{ include "audiogate.fullname" . }}
- name: audiogate-data
  emptyDir: {sizeLimit: {{ .Values.dataSize }}}
- name: audiogate-spool
  emptyDir: {sizeLimit: {{ default (ternary "2Gi" "1Gi" (eq .Values.mode "edge")) .Values.spoolSize }}}
- name: audiogate-tmp
  emptyDir: {medium: Memory, sizeLimit: 16Mi}
{{- if .Values.existingSecret }}
- name: audiogate-secrets
  secret: {secretName: {{ .Values.existingSecret }}, defaultMode: 0440}
{{- end }}
{{- if .Values.store.existingSecret }}
- name: audiogate-store
  secret: {secretName: {{ .Values.store.existingSecret }}, defaultMode: 0440}
{{- end }}
{{- with .Values.extraVolumes }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{/* The native sidecar as an item of initContainers; in a chart that depends on this one:
  {{- include "audiogate.sidecar" .Subcharts.audiogate | nindent 8 }}
*/}}
{{- define "audiogate.sidecar" -}}
- restartPolicy: Always
  {{- include "audiogate.container" . | nindent 2 }}
{{- end }}
