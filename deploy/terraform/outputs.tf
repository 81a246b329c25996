output "role_arn" {
  description = "For eks.irsaRoleArn of the chart, or the annotation of the ServiceAccount."
  value       = aws_iam_role.exporter.arn
}
