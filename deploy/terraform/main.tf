# The exporter's role: what it may do, and who may take it. The policies are those of deploy/iam.

data "aws_caller_identity" "current" {}
data "aws_partition" "current" {}
data "aws_region" "current" {}

locals {
  account   = data.aws_caller_identity.current.account_id
  partition = data.aws_partition.current.partition
  # `id` is the Region's name in every version of the provider.
  home    = data.aws_region.current.id
  regions = length(var.regions) > 0 ? var.regions : [local.home]

  executions = flatten([
    for region in local.regions : [
      for kind in ["thing", "client", "command"] :
      "arn:${local.partition}:iot:${region}:${local.account}:${kind}/*"
    ]
  ])

  pod_identity = var.cluster_name != null
  issuer       = var.oidc_provider_arn == null ? "" : split(":oidc-provider/", var.oidc_provider_arn)[1]
}

data "aws_iam_policy_document" "read" {
  statement {
    sid       = "PollExecutions"
    actions   = ["iot:GetCommandExecution"]
    resources = local.executions
  }

  statement {
    sid       = "ListExecutions"
    actions   = ["iot:ListCommandExecutions"]
    resources = local.executions
  }

  statement {
    sid       = "ListCommandsWhichHasNoResources"
    actions   = ["iot:ListCommands"]
    resources = ["*"]
  }

  dynamic "statement" {
    for_each = length(var.other_role_arns) > 0 ? [1] : []
    content {
      sid       = "BecomeTheReaderOfOtherAccounts"
      actions   = ["sts:AssumeRole"]
      resources = var.other_role_arns
    }
  }
}

data "aws_iam_policy_document" "trust_irsa" {
  count = local.pod_identity ? 0 : 1

  statement {
    sid     = "TheServiceAccountAndNoOther"
    actions = ["sts:AssumeRoleWithWebIdentity"]

    principals {
      type        = "Federated"
      identifiers = [var.oidc_provider_arn]
    }

    condition {
      test     = "StringEquals"
      variable = "${local.issuer}:aud"
      values   = ["sts.amazonaws.com"]
    }

    condition {
      test     = "StringEquals"
      variable = "${local.issuer}:sub"
      values   = ["system:serviceaccount:${var.namespace}:${var.service_account}"]
    }
  }
}

data "aws_iam_policy_document" "trust_pod_identity" {
  count = local.pod_identity ? 1 : 0

  statement {
    sid     = "TheServiceAccountAndNoOther"
    actions = ["sts:AssumeRole", "sts:TagSession"]

    principals {
      type        = "Service"
      identifiers = ["pods.eks.amazonaws.com"]
    }

    condition {
      test     = "StringEquals"
      variable = "aws:RequestTag/eks-cluster-arn"
      values   = ["arn:${local.partition}:eks:${local.home}:${local.account}:cluster/${var.cluster_name}"]
    }

    condition {
      test     = "StringEquals"
      variable = "aws:RequestTag/kubernetes-namespace"
      values   = [var.namespace]
    }

    condition {
      test     = "StringEquals"
      variable = "aws:RequestTag/kubernetes-service-account"
      values   = [var.service_account]
    }
  }
}

resource "aws_iam_role" "exporter" {
  name               = var.name
  assume_role_policy = local.pod_identity ? data.aws_iam_policy_document.trust_pod_identity[0].json : data.aws_iam_policy_document.trust_irsa[0].json

  lifecycle {
    precondition {
      condition     = (var.cluster_name == null) != (var.oidc_provider_arn == null)
      error_message = "Exactly one of cluster_name (Pod Identity) and oidc_provider_arn (IAM roles for service accounts)."
    }
  }
}

resource "aws_iam_role_policy" "read" {
  name   = var.name
  role   = aws_iam_role.exporter.id
  policy = data.aws_iam_policy_document.read.json
}

resource "aws_eks_pod_identity_association" "exporter" {
  count = local.pod_identity ? 1 : 0

  cluster_name    = var.cluster_name
  namespace       = var.namespace
  service_account = var.service_account
  role_arn        = aws_iam_role.exporter.arn
}
