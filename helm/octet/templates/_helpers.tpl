{{- define "octet.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" -}}
{{- end -}}

{{/* Short enough for the longest suffix, "-headless". */}}
{{- define "octet.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 54 | trimSuffix "-" -}}
{{- else -}}
{{- $name := include "octet.name" . -}}
{{- if contains $name .Release.Name -}}
{{- .Release.Name | trunc 54 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name $name | trunc 54 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- define "octet.selector" -}}
app.kubernetes.io/name: {{ include "octet.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{/* Of the pod of `helm test`, which is no server. */}}
{{- define "octet.testSelector" -}}
app.kubernetes.io/name: {{ include "octet.name" . }}-test
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "octet.labels" -}}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-" }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{ include "octet.selector" . }}
{{- with .Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{- define "octet.image" -}}
{{- if .Values.image.digest -}}
{{- printf "%s@%s" .Values.image.repository .Values.image.digest -}}
{{- else -}}
{{- printf "%s:%s" .Values.image.repository (default .Chart.AppVersion .Values.image.tag) -}}
{{- end -}}
{{- end -}}

{{- define "octet.serviceAccount" -}}
{{- if .Values.serviceAccount.create -}}
{{- default (include "octet.fullname" .) .Values.serviceAccount.name -}}
{{- else -}}
{{- default "default" .Values.serviceAccount.name -}}
{{- end -}}
{{- end -}}

{{- define "octet.repository" -}}
{{- if eq .Values.modelSource.type "example" -}}/usr/share/octet/models{{- else -}}{{ .Values.modelSource.path }}{{- end -}}
{{- end -}}

{{/* What a running server cannot take up: the pods are replaced when it changes. */}}
{{- define "octet.restartConfig" -}}
{{- $server := deepCopy .Values.server -}}
{{- if .Values.tls.secretName -}}
{{- $tls := dict "certificate" "/etc/octet-tls/tls.crt" "key" "/etc/octet-tls/tls.key" -}}
{{- if .Values.tls.requireClientCertificate -}}
{{- $_ := set $tls "client_ca" "/etc/octet-tls/ca.crt" -}}
{{- end -}}
{{- $_ := set $server "tls" $tls -}}
{{- end -}}
{{- dict "model_repository" (include "octet.repository" .) "server" $server "log" .Values.log | toYaml -}}
{{- end -}}

{{/* What it does take up. */}}
{{- define "octet.liveConfig" -}}
{{- $quantization := deepCopy .Values.quantization -}}
{{- if .Values.warmStart.enabled -}}
{{- $_ := set $quantization "cache" (mustMergeOverwrite (dict "dir" "/var/cache/octet") (default dict $quantization.cache)) -}}
{{- end -}}
{{- $config := dict "quantization" $quantization -}}
{{- range $section := list "batching" "execution" "models" -}}
{{- with index $.Values $section -}}{{- $_ := set $config $section . -}}{{- end -}}
{{- end -}}
{{- toYaml $config -}}
{{- end -}}
