{{- define "exporter.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" -}}
{{- end -}}

{{/* At most 52 characters: a StatefulSet's pods get more, and their labels hold 63. */}}
{{- define "exporter.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 52 | trimSuffix "-" -}}
{{- else if contains (include "exporter.name" .) .Release.Name -}}
{{- .Release.Name | trunc 52 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name (include "exporter.name" .) | trunc 52 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{- define "exporter.namespace" -}}
{{- default .Release.Namespace .Values.namespaceOverride -}}
{{- end -}}

{{- define "exporter.selectorLabels" -}}
app.kubernetes.io/name: {{ include "exporter.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{/* The labels that are about the chart, without those that Services and monitors select by. */}}
{{- define "exporter.chartLabels" -}}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-" }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- with .Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{- define "exporter.labels" -}}
{{ include "exporter.selectorLabels" . }}
{{ include "exporter.chartLabels" . }}
{{- end -}}

{{- define "exporter.serviceAccountName" -}}
{{- if .Values.serviceAccount.create -}}
{{- default (include "exporter.fullname" .) .Values.serviceAccount.name -}}
{{- else -}}
{{- default "default" .Values.serviceAccount.name -}}
{{- end -}}
{{- end -}}

{{- define "exporter.configMapName" -}}
{{- default (include "exporter.fullname" .) .Values.existingConfigMap -}}
{{- end -}}

{{- define "exporter.image" -}}
{{- if .Values.image.digest -}}
{{- printf "%s@%s" .Values.image.repository .Values.image.digest -}}
{{- else -}}
{{- printf "%s:%s" .Values.image.repository (default .Chart.AppVersion .Values.image.tag) -}}
{{- end -}}
{{- end -}}

{{/* The probes ask in plain HTTP, which the main port does not speak when webConfig asks for TLS. */}}
{{- define "exporter.probePort" -}}
{{- ternary "health" "http" (not (empty .Values.webConfig.existingSecret)) -}}
{{- end -}}

{{/* What no schema can say. */}}
{{- define "exporter.validate" -}}
{{- if and .Values.eks.irsaRoleArn .Values.eks.podIdentity -}}
{{- fail "eks.irsaRoleArn and eks.podIdentity: one of the two, or neither" -}}
{{- end -}}
{{- if and .Values.serviceMonitor.enabled .Values.prometheusAnnotations.enabled -}}
{{- fail "serviceMonitor.enabled and prometheusAnnotations.enabled: each sample would be there twice" -}}
{{- end -}}
{{- if and .Values.eks.irsaRoleArn (not .Values.serviceAccount.create) -}}
{{- fail "eks.irsaRoleArn: with serviceAccount.create: false, annotate that ServiceAccount yourself" -}}
{{- end -}}
{{- if and .Values.demo.enabled (gt (int .Values.shards) 1) -}}
{{- fail "demo.enabled and shards: each pod would have a fleet of its own" -}}
{{- end -}}
{{- if and .Values.serviceMonitor.enabled .Values.webConfig.existingSecret (eq .Values.serviceMonitor.scheme "http") (empty .Values.serviceMonitor.basicAuth) -}}
{{- fail "webConfig.existingSecret: serviceMonitor needs scheme: https, or basicAuth, to be let in" -}}
{{- end -}}
{{- end -}}
