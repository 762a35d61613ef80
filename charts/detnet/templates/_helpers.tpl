{{/* Labels of an object; the component is given, the rest is the same everywhere. */}}
{{- define "detnet.labels" -}}
{{ include "detnet.selector" . }}
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .root.Chart.Name .root.Chart.Version }}
{{- end }}

{{- define "detnet.selector" -}}
app.kubernetes.io/name: detnet
{{- with .component }}
app.kubernetes.io/component: {{ . }}
{{- end }}
{{- end }}

{{- define "detnet.image" -}}
image: {{ printf "%s/%s:%s" .root.Values.image.registry .name (.root.Values.image.tag | default .root.Chart.AppVersion) }}
imagePullPolicy: {{ .root.Values.image.pullPolicy }}
{{- end }}

{{/* "true" where cert-manager issues the certificates. */}}
{{- define "detnet.certManager" -}}
{{- if eq .Values.certificates.mode "cert-manager" }}true
{{- else if and (eq .Values.certificates.mode "auto") (.Capabilities.APIVersions.Has "cert-manager.io/v1") }}true
{{- end }}
{{- end }}

{{/* "true" where the API server can evaluate the guard itself. */}}
{{- define "detnet.guardPolicy" -}}
{{- if semverCompare ">=1.30.0-0" .Capabilities.KubeVersion.Version }}true{{ end }}
{{- end }}

{{/* YAML reads a bare off as false. */}}
{{- define "detnet.word" -}}
{{- if kindIs "bool" . }}{{ ternary "on" "off" . }}{{ else }}{{ . }}{{ end }}
{{- end }}

{{/* What every pod has that needs no privilege: the restricted Pod Security profile. */}}
{{- define "detnet.podSecurity" -}}
runAsNonRoot: true
runAsUser: 65532
runAsGroup: 65532
fsGroup: 65532
seccompProfile: {type: RuntimeDefault}
{{- end }}

{{- define "detnet.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities: {drop: [ALL]}
{{- end }}

{{- define "detnet.pullSecrets" }}
{{- with .Values.image.pullSecrets }}
imagePullSecrets:
  {{- range . }}
  - name: {{ . }}
  {{- end }}
{{- end }}
{{- end }}

{{- define "detnet.podSpec" -}}
priorityClassName: detnet-critical
{{- include "detnet.pullSecrets" . }}
{{- end }}

{{/* Replicas on different nodes, and zones where there are any. A spread over zones
would be ignored, and the one over nodes with it, where nodes have no zone. */}}
{{- define "detnet.spread" -}}
topologySpreadConstraints:
  - topologyKey: kubernetes.io/hostname
    maxSkew: 1
    whenUnsatisfiable: ScheduleAnyway
    labelSelector:
      matchLabels:
        {{- include "detnet.selector" . | nindent 8 }}
    matchLabelKeys: [pod-template-hash]
affinity:
  podAntiAffinity:
    preferredDuringSchedulingIgnoredDuringExecution:
      - weight: 100
        podAffinityTerm:
          topologyKey: topology.kubernetes.io/zone
          labelSelector:
            matchLabels:
              {{- include "detnet.selector" . | nindent 14 }}
{{- end }}

{{/* The agents' certificate without the parts that only its manager needs. */}}
{{- define "detnet.agentTLSVolume" -}}
- name: agent-tls
  secret:
    secretName: detnet-agent-tls
    defaultMode: 0440
    items:
      - {key: tls.crt, path: tls.crt}
      - {key: tls.key, path: tls.key}
      - {key: ca.crt, path: ca.crt}
{{- end }}

{{- /* The controller's configuration, with the files of the Secret for Prometheus. */}}
{{- define "detnet.controllerConfig" -}}
{{- $config := deepCopy .Values.controller.config }}
{{- with .Values.controller.prometheusSecret }}
{{- if .name }}
{{- $files := dict }}
{{- with .token }}{{ $_ := set $files "tokenFile" "/etc/detnet/prometheus/token" }}{{ end }}
{{- with .ca }}{{ $_ := set $files "caFile" "/etc/detnet/prometheus/ca.crt" }}{{ end }}
{{- $config = mustMerge $config (dict "prometheus" $files) }}
{{- end }}
{{- end }}
{{- if $config }}{{ toYaml $config }}{{ end }}
{{- end }}

{{- /* Whether the controller has files of its own. */}}
{{- define "detnet.controllerFiles" -}}
{{- if or (include "detnet.controllerConfig" .) .Values.controller.staticTargets }}yes{{ end }}
{{- end }}
