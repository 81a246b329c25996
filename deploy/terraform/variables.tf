variable "name" {
  description = "Name of the role and its policy."
  type        = string
  default     = "aws-iot-command-exporter"
}

variable "regions" {
  description = "Regions whose executions are read. Empty: that of the provider."
  type        = list(string)
  default     = []
}

variable "namespace" {
  description = "Namespace of the exporter in Kubernetes."
  type        = string
  default     = "monitoring"
}

variable "service_account" {
  description = "ServiceAccount of the exporter."
  type        = string
  default     = "aws-iot-command-exporter"
}

variable "cluster_name" {
  description = "EKS cluster, for Pod Identity. Exactly one of this and oidc_provider_arn."
  type        = string
  default     = null
}

variable "oidc_provider_arn" {
  description = "OIDC provider of the EKS cluster, for IAM roles for service accounts."
  type        = string
  default     = null
}

variable "other_role_arns" {
  description = "Roles in other accounts that the configuration names under accounts."
  type        = list(string)
  default     = []
}
