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
{{- $digest := index .root.Values.image.digests .name | default "" -}}
image: {{ printf "%s/%s:%s%s" .root.Values.image.registry .name (.root.Values.image.tag | default .root.Chart.AppVersion) (ternary (print "@" $digest) "" (ne $digest "")) }}
imagePullPolicy: {{ .root.Values.image.pullPolicy }}
terminationMessagePolicy: FallbackToLogsOnError
{{- end }}

{{/* "true" where cert-manager issues the webhook's certificate. auto is what is
installed already; at the first install it is cert-manager if one answers, which CRDs
alone do not say. Without a cluster to ask (helm template) auto is self. */}}
{{- define "detnet.certManager" -}}
{{- $mode := .Values.certificates.mode }}
{{- if eq $mode "auto" }}
  {{- $installed := lookup "apps/v1" "Deployment" .Release.Namespace "detnet-webhook" }}
  {{- if $installed }}
    {{- $mode = dig "metadata" "annotations" "detnet.dev/certificates" "self" $installed }}
  {{- else }}
    {{- $mode = ternary "cert-manager" "self" (ne (include "detnet.certManagerAnswers" .) "") }}
  {{- end }}
{{- end }}
{{- if eq $mode "cert-manager" }}true{{ end }}
{{- end }}

{{/* "true" where cert-manager's own webhook has a ready endpoint, and the CA that
cert-manager gives it once it runs. */}}
{{- define "detnet.certManagerAnswers" -}}
{{- if .Capabilities.APIVersions.Has "cert-manager.io/v1" }}
{{- range dig "webhooks" list (lookup "admissionregistration.k8s.io/v1" "ValidatingWebhookConfiguration" "" "cert-manager-webhook") }}
{{- $service := .clientConfig.service }}
{{- if and $service .clientConfig.caBundle }}
{{- range dig "items" list (lookup "discovery.k8s.io/v1" "EndpointSlice" $service.namespace "") }}
{{- if eq (dig "metadata" "labels" "kubernetes.io/service-name" "" .) $service.name }}
{{- range .endpoints }}{{ if dig "conditions" "ready" true . }}true{{ end }}{{ end }}
{{- end }}
{{- end }}
{{- end }}
{{- end }}
{{- end }}
{{- end }}

{{/* "true" where a cluster is asked: helm install and upgrade, and not helm template,
whose output people apply by hand, hooks included. */}}
{{- define "detnet.release" -}}
{{- if lookup "v1" "Namespace" "" "kube-system" }}true{{ end }}
{{- end }}

{{/* Of objects without a namespace: they go with detnet's own, should somebody delete
that. Known only once the namespace is there. */}}
{{- define "detnet.ownedByNamespace" -}}
{{- with lookup "v1" "Namespace" "" .Release.Namespace }}
ownerReferences:
  - {apiVersion: v1, kind: Namespace, name: {{ .metadata.name | quote }}, uid: {{ .metadata.uid | quote }}}
{{- end }}
{{- end }}

{{/* Fills in what the values lack, because it is null or because the values are those
of an older chart (helm upgrade --reuse-values). Every template begins with it. */}}
{{- define "detnet.defaults" -}}
{{- include "detnet.fill" (dict "values" .Values "defaults" (.Files.Get "files/defaults.yaml" | fromYaml)) }}
{{- end }}

{{- define "detnet.fill" -}}
{{- $values := .values }}
{{- range $key, $default := .defaults }}
{{- if kindIs "invalid" (index $values $key) }}
{{- $_ := set $values $key $default }}
{{- else if and (kindIs "map" $default) (not (has $key (list "config" "digests" "files" "labels" "nodeSelector" "podAnnotations" "podSecurityContext" "resources" "shadow"))) }}
{{- include "detnet.fill" (dict "values" (index $values $key) "defaults" $default) }}
{{- end }}
{{- end }}
{{- end }}

{{/* Namespaces that detnet leaves alone, as JSON. */}}
{{- define "detnet.exemptNamespaces" -}}
{{- concat (list "kube-system" "kube-public" "kube-node-lease" .Release.Namespace) .Values.webhook.ignoreNamespaces | uniq | toJson }}
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
{{- with .Values.podSecurityContext }}
{{ toYaml . }}
{{- end }}
seccompProfile: {type: RuntimeDefault}
{{- end }}

{{/* Where the pods of one section of the values run. */}}
{{- define "detnet.scheduling" -}}
{{- with .nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{- define "detnet.podAnnotations" -}}
{{- with .podAnnotations }}
{{ toYaml . }}
{{- end }}
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
  - name: {{ quote . }}
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

{{/* The agents' certificate without the parts that only its manager needs, and whom they obey. */}}
{{- define "detnet.agentTLSVolume" -}}
- name: agent-tls
  secret:
    secretName: detnet-agent-tls
    defaultMode: 0440
    items:
      - {key: tls.crt, path: tls.crt}
      - {key: tls.key, path: tls.key}
      - {key: ca.crt, path: ca.crt}
- name: controller-ca
  configMap:
    name: detnet-controller-tls
    items:
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
{{- include "detnet.prune" $config }}
{{- with $config.prometheus }}
{{- with include "detnet.noAddress" (.url | default "") }}{{ fail (printf "controller.config.prometheus.url: %s" .) }}{{ end }}
{{- if and (or .tokenFile .caFile) (not (hasPrefix "https://" (.url | default "" | lower))) }}
{{- fail "controller.config.prometheus.url: must be an https URL where controller.prometheusSecret, tokenFile or caFile is given: over http nobody vouches for the server" }}
{{- end }}
{{- end }}
{{- with include "detnet.outOfRange" (dict "config" $config "ranges" (.Files.Get "files/ranges.yaml" | fromYaml)) }}{{ fail . }}{{ end }}
{{- range list "mode" "law" }}
{{- if hasKey $config . }}{{ fail (printf "controller.config.%s: set controller.%s, which wins over it" . .) }}{{ end }}
{{- end }}
{{- if $config }}{{ toYaml $config }}{{ end }}
{{- end }}

{{- /* What the controller would refuse of its configuration and no schema can: how long a
duration is, how much a rate, and what must not be below another. A line each. */}}
{{- define "detnet.outOfRange" -}}
{{- $config := .config }}{{ $ranges := .ranges }}
{{- range $path, $range := $ranges }}
  {{- $text := include "detnet.textAt" (list $config $path) }}
  {{- $over := include "detnet.textAt" (list $config ($range.over | default "")) }}
  {{- if or $text $over }}
    {{- $size := $range.default }}
    {{- if $text }}{{ $size = include "detnet.size" (list $range.unit $text) | float64 }}{{ end }}
    {{- if not (or (and $range.zero (eq (float64 $size) 0.0)) (and (ge (float64 $size) (float64 $range.least)) (le (float64 $size) (float64 $range.most)))) }}
{{ printf "controller.config.%s: %s must be %s" $path $text $range.accepted }}
    {{- else if $range.over }}
      {{- $floor := $range.overDefault }}
      {{- if $over }}{{ $floor = include "detnet.size" (list $range.unit $over) | float64 }}{{ end }}
      {{- if or (lt (float64 $size) (float64 $floor)) (and $range.more (eq (float64 $size) (float64 $floor))) }}
{{ printf "controller.config.%s: must be %s controller.config.%s" $path (ternary "more than" "at least" (default false $range.more)) $range.over }}
      {{- end }}
    {{- end }}
  {{- end }}
{{- end }}
{{- end }}

{{- /* What is in brackets as the host of an URL and no IPv6 address (RFC 6874): no pattern of a
bearable length tells it. The last two of eight groups may be an IPv4 address. */}}
{{- define "detnet.noAddress" -}}
{{- with regexFind "^[a-zA-Z]+://\\[[^]]*" . }}
{{- $host := regexReplaceAll "^[^[]*\\[" . "" }}
{{- $octet := "(25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])" }}
{{- $groups := "[0-9a-fA-F]{1,4}(:[0-9a-fA-F]{1,4})*" }}
{{- $address := regexReplaceAll (printf ":%s(\\.%s){3}$" $octet $octet) (regexReplaceAll "%25.*$" $host "") ":0:0" }}
{{- $count := len (regexFindAll "[0-9a-fA-F]+" $address -1) }}
{{- $whole := and (eq $count 8) (regexMatch (printf "^%s$" $groups) $address) }}
{{- $short := and (lt $count 8) (regexMatch (printf "^(%s)?::(%s)?$" $groups $groups) $address) }}
{{- if not (or $whole $short) }}{{ printf "%s in brackets must be an IPv6 address, such as [2001:db8::1] or [fe80::1%%25eth0]" $host }}{{ end }}
{{- end }}
{{- end }}

{{- /* The value at a path as text, empty where there is none. */}}
{{- define "detnet.textAt" -}}
{{- $value := index . 0 }}
{{- range splitList "." (index . 1) }}
{{- $value = ternary (get (ternary $value dict (kindIs "map" $value)) .) "" (kindIs "map" $value) }}
{{- end }}
{{- if not (kindIs "map" $value) }}{{ $value }}{{ end }}
{{- end }}

{{- /* How much a text of a unit says: seconds, bit/s, or the number that it is. */}}
{{- define "detnet.size" -}}
{{- $text := index . 1 }}
{{- $factors := dict }}
{{- if eq (index . 0) "duration" }}
{{- $factors = dict "ns" 1e-9 "us" 1e-6 "µs" 1e-6 "ms" 1e-3 "s" 1 "m" 60 "h" 3600 }}
{{- else if eq (index . 0) "rate" }}
{{- $factors = dict "n" 1e-9 "u" 1e-6 "m" 1e-3 "k" 1e3 "M" 1e6 "G" 1e9 "T" 1e12 "P" 1e15 "E" 1e18 "Ki" 1024 "Mi" 1048576 "Gi" 1073741824 "Ti" 1099511627776 "Pi" 1125899906842624 "Ei" 1152921504606846976 }}
{{- end }}
{{- $sum := 0.0 }}
{{- range regexFindAll "[-+0-9.]+([eE][-+]?[0-9]+|[a-zA-Zµ]*)" $text -1 }}
{{- $unit := regexFind "[a-zA-Zµ]+$" . }}
{{- $sum = addf $sum (mulf (trimSuffix $unit . | float64) (get $factors $unit | default 1)) }}
{{- end }}
{{- $sum }}
{{- end }}

{{- /* Takes out what is null: the program's default holds. */}}
{{- define "detnet.prune" -}}
{{- $map := . }}
{{- range $key, $value := deepCopy . }}
{{- if kindIs "invalid" $value }}{{ $_ := unset $map $key }}
{{- else if kindIs "map" $value }}{{ include "detnet.prune" (index $map $key) }}
{{- end }}
{{- end }}
{{- end }}

{{- /* Whether the controller has files of its own. */}}
{{- define "detnet.controllerFiles" -}}
{{- if or (include "detnet.controllerConfig" .) .Values.controller.staticTargets }}yes{{ end }}
{{- end }}

{{/* Authorities of one's own, besides those in the image: Go reads the files of this
directory. They are read once, so new ones start new pods. */}}
{{- define "detnet.trustedCAsEnv" -}}
{{- if .Values.trustedCAs }}
- {name: SSL_CERT_DIR, value: /etc/detnet/trusted-cas}
{{- end }}
{{- end }}

{{- define "detnet.trustedCAsHash" -}}
{{- with .Values.trustedCAs }}
detnet.dev/trusted-cas: {{ sha256sum . | trunc 16 | quote }}
{{- end }}
{{- end }}

{{/* Where metrics are for some only: the flag, the file behind it, and how the kubelet
asks an agent for its health. */}}
{{- define "detnet.metricsFlag" -}}
{{- if .Values.metrics.clientCA }}
- --metrics-client-ca-file=/etc/detnet/metrics-ca/ca.crt
{{- end }}
{{- end }}

{{- define "detnet.metricsMount" -}}
{{- if .Values.metrics.clientCA }}
- {name: metrics-ca, mountPath: /etc/detnet/metrics-ca, readOnly: true}
{{- end }}
{{- end }}

{{- define "detnet.metricsVolume" -}}
{{- if .Values.metrics.clientCA }}
- name: metrics-ca
  configMap: {name: detnet-metrics-ca}
{{- end }}
{{- end }}

{{- define "detnet.agentScheme" -}}
{{- if .Values.metrics.clientCA }}, scheme: HTTPS{{ end }}
{{- end }}

{{/* What a monitor scrapes. Many series speak of other pods: their label must not give
way to that of the pod that tells. */}}
{{- define "detnet.scrape" -}}
- port: metrics
  honorLabels: true
{{- with .Values.metrics }}
{{- if .clientCA }}
  relabelings: [{sourceLabels: [__meta_kubernetes_pod_label_app_kubernetes_io_component], regex: webhook, action: keep}]
- port: metrics
  honorLabels: true
  relabelings: [{sourceLabels: [__meta_kubernetes_pod_label_app_kubernetes_io_component], regex: webhook, action: drop}]
  scheme: https
  tlsConfig:
    serverName: detnet-agent
    ca: {secret: {name: detnet-agent-tls, key: ca.crt}}
    {{- $name := required "metrics.clientSecret.name: without a certificate of its own Prometheus gets no metrics (metrics.clientCA)" .clientSecret.name }}
    cert: {secret: {name: {{ quote $name }}, key: {{ quote .clientSecret.cert }}}}
    keySecret: {name: {{ quote $name }}, key: {{ quote .clientSecret.key }}}
{{- end }}
{{- end }}
{{- end }}

{{/* On the host's network 10250 is the kubelet's. */}}
{{- define "detnet.webhookPort" -}}
{{- $port := int .Values.webhook.port }}
{{- ternary 10260 $port (and .Values.webhook.hostNetwork (eq $port 10250)) }}
{{- end }}
