resource "aws_sqs_queue" "dead_letters" {
  name                      = "${var.name}-releases-dead"
  message_retention_seconds = 1209600 # 14 days, the most
  sqs_managed_sse_enabled   = true
}

resource "aws_sqs_queue" "releases" {
  name                       = "${var.name}-releases"
  message_retention_seconds  = 1209600
  visibility_timeout_seconds = 60 # the agent asks for longer while it works
  receive_wait_time_seconds  = 10
  sqs_managed_sse_enabled    = true

  redrive_policy = jsonencode({
    deadLetterTargetArn = aws_sqs_queue.dead_letters.arn
    maxReceiveCount     = var.receives
  })
}

resource "aws_sqs_queue_redrive_allow_policy" "dead_letters" {
  queue_url = aws_sqs_queue.dead_letters.id

  redrive_allow_policy = jsonencode({
    redrivePermission = "byQueue"
    sourceQueueArns   = [aws_sqs_queue.releases.arn]
  })
}

# S3 may send for this one bucket of this account; nobody else may.
data "aws_iam_policy_document" "notifications" {
  statement {
    sid       = "NotificationsOfReleases"
    actions   = ["sqs:SendMessage"]
    resources = [aws_sqs_queue.releases.arn]

    principals {
      type        = "Service"
      identifiers = ["s3.amazonaws.com"]
    }

    condition {
      test     = "ArnEquals"
      variable = "aws:SourceArn"
      values   = [aws_s3_bucket.this["releases"].arn]
    }

    condition {
      test     = "StringEquals"
      variable = "aws:SourceAccount"
      values   = [data.aws_caller_identity.current.account_id]
    }
  }
}

resource "aws_sqs_queue_policy" "notifications" {
  queue_url = aws_sqs_queue.releases.id
  policy    = data.aws_iam_policy_document.notifications.json
}

resource "aws_s3_bucket_notification" "releases" {
  bucket = aws_s3_bucket.this["releases"].id

  queue {
    id            = "requests"
    queue_arn     = aws_sqs_queue.releases.arn
    events        = ["s3:ObjectCreated:*"]
    filter_prefix = "${var.releases_prefix}/"
    filter_suffix = "/build.yaml"
  }

  depends_on = [aws_sqs_queue_policy.notifications]
}

# A dead letter is somebody's release that will not be built.
resource "aws_cloudwatch_metric_alarm" "dead_letters" {
  alarm_name          = "${var.name}-dead-letters"
  alarm_description   = "A notification of a release could not be answered; its attribute `reason` says why."
  namespace           = "AWS/SQS"
  metric_name         = "ApproximateNumberOfMessagesVisible"
  dimensions          = { QueueName = aws_sqs_queue.dead_letters.name }
  statistic           = "Maximum"
  period              = 300
  evaluation_periods  = 1
  threshold           = 0
  comparison_operator = "GreaterThanThreshold"
}
