output "queue_url" {
  description = "For `enginefarm agent s3 --queue`."
  value       = aws_sqs_queue.releases.id
}

output "releases" {
  description = "For `enginefarm agent s3 --releases`."
  value       = "s3://${var.releases_bucket}/${var.releases_prefix}"
}

output "store" {
  description = "For ENGINEFARM_STORE."
  value       = "s3://${var.store_bucket}"
}

output "policy_arns" {
  description = "To attach to the role of each kind of process."
  value       = { for name, policy in aws_iam_policy.this : name => policy.arn }
}
