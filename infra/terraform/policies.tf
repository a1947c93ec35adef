# One policy for each kind of process. s3:ListBucket is for whole buckets: without it S3 answers 403 instead of
# 404 for what is not there, and the farm asks for what may not be there all the time.

locals {
  store    = aws_s3_bucket.this["store"].arn
  releases = aws_s3_bucket.this["releases"].arn

  # Folders of the store, see ARCHITECTURE.md.
  written_by_agents     = ["blobs", "channels", "engines", "leases", "probes", "quarantine", "targets", "timing"]
  written_by_converters = ["conversions", "hashed", "signatures"]
  deleted_by_agents     = ["leases", "probes", "timing"]

  policies = {
    agent     = data.aws_iam_policy_document.agent.json
    converter = data.aws_iam_policy_document.converter.json
    s3_agent  = data.aws_iam_policy_document.s3_agent.json
    consumer  = data.aws_iam_policy_document.consumer.json
    promoter  = data.aws_iam_policy_document.promoter.json
    publisher = data.aws_iam_policy_document.publisher.json
  }
}

# GPU agents: the store alone. They see conversions, never releases.
data "aws_iam_policy_document" "agent" {
  statement {
    sid       = "FindInTheStore"
    actions   = ["s3:ListBucket"]
    resources = [local.store]
  }

  statement {
    sid       = "ReadAndWriteTheStore"
    actions   = ["s3:GetObject", "s3:PutObject", "s3:AbortMultipartUpload"]
    resources = [for folder in local.written_by_agents : "${local.store}/${folder}/*"]
  }

  # What engines are built from, and what their orders and the accuracy gate are held against: a GPU host that was
  # taken over reads it and cannot change it.
  statement {
    sid       = "ReadWhatConvertersWrite"
    actions   = ["s3:GetObject"]
    resources = [for folder in local.written_by_converters : "${local.store}/${folder}/*"]
  }

  # Agents keep the index of a channel. What a channel points to is people's to decide.
  statement {
    sid       = "LeaveChannelsToPeople"
    effect    = "Deny"
    actions   = ["s3:PutObject"]
    resources = ["${local.store}/channels/*/history/*", "${local.store}/channels/policies.json"]
  }

  statement {
    sid       = "GiveLeasesBack"
    actions   = ["s3:DeleteObject"]
    resources = [for folder in local.deleted_by_agents : "${local.store}/${folder}/*"]
  }
}

# CPU agents: the same, and they read releases and write what comes of them.
data "aws_iam_policy_document" "converter" {
  source_policy_documents = [data.aws_iam_policy_document.agent.json]

  statement {
    sid       = "WriteConversions"
    actions   = ["s3:PutObject", "s3:AbortMultipartUpload"]
    resources = [for folder in local.written_by_converters : "${local.store}/${folder}/*"]
  }

  statement {
    sid       = "FindReleases"
    actions   = ["s3:ListBucket"]
    resources = [local.releases]
  }

  statement {
    sid       = "ReadReleases"
    actions   = ["s3:GetObject", "s3:GetObjectVersion"]
    resources = ["${local.releases}/${var.releases_prefix}/*"]
  }

  # The requests that runs built from. None may be overwritten, and nothing else of a release written.
  statement {
    sid       = "KeepRequests"
    actions   = ["s3:PutObject"]
    resources = ["${local.releases}/${var.releases_prefix}/*/requests/*"]

    condition {
      test     = "Null"
      variable = "s3:if-none-match"
      values   = ["false"]
    }
  }
}

# The S3 agent: its two queues, and to look at request files.
data "aws_iam_policy_document" "s3_agent" {
  statement {
    sid = "AnswerNotifications"
    actions = [
      "sqs:ChangeMessageVisibility",
      "sqs:DeleteMessage",
      "sqs:GetQueueAttributes",
      "sqs:ReceiveMessage",
    ]
    resources = [aws_sqs_queue.releases.arn]
  }

  statement {
    sid       = "BuryNotifications"
    actions   = ["sqs:GetQueueUrl", "sqs:SendMessage"]
    resources = [aws_sqs_queue.dead_letters.arn]
  }

  statement {
    sid       = "FindReleases"
    actions   = ["s3:ListBucket"]
    resources = [local.releases]
  }

  statement {
    sid       = "LookAtRequests"
    actions   = ["s3:GetObject"]
    resources = ["${local.releases}/${var.releases_prefix}/*/build.yaml"]
  }

  # With --wanted: what consumers ask for becomes runs.
  statement {
    sid       = "FindWhatConsumersAskFor"
    actions   = ["s3:ListBucket"]
    resources = [local.store]
  }

  statement {
    sid       = "TakeWhatConsumersAskFor"
    actions   = ["s3:GetObject", "s3:DeleteObject"]
    resources = ["${local.store}/wanted/*"]
  }
}

# What fetches engines to run them.
data "aws_iam_policy_document" "consumer" {
  statement {
    sid       = "FindEngines"
    actions   = ["s3:ListBucket"]
    resources = [local.store]
  }

  statement {
    sid     = "ReadEngines"
    actions = ["s3:GetObject"]
    resources = [
      "${local.store}/blobs/*", "${local.store}/channels/*", "${local.store}/engines/*",
      "${local.store}/signatures/*",
    ]
  }

  # For `fetch --wait`: who may write here may start builds of all releases that the S3 agent watches.
  statement {
    sid       = "AskForEngines"
    actions   = ["s3:PutObject"]
    resources = ["${local.store}/wanted/*"]
  }
}

# Who moves channels: reads what the policy of a channel asks for.
data "aws_iam_policy_document" "promoter" {
  source_policy_documents = [data.aws_iam_policy_document.consumer.json]

  statement {
    sid       = "LookAtAgents"
    actions   = ["s3:GetObject"]
    resources = ["${local.store}/targets/*"]
  }

  statement {
    sid       = "MoveChannels"
    actions   = ["s3:PutObject"]
    resources = ["${local.store}/channels/*", "${local.store}/probes/*", "${local.store}/signatures/*"]
  }

  statement {
    sid       = "RemoveProbes"
    actions   = ["s3:DeleteObject"]
    resources = ["${local.store}/probes/*"]
  }

  statement {
    sid       = "FindReleases"
    actions   = ["s3:ListBucket"]
    resources = [local.releases]
  }

  statement {
    sid       = "LookAtRequests"
    actions   = ["s3:GetObject"]
    resources = ["${local.releases}/${var.releases_prefix}/*/build.yaml"]
  }
}

# What publishes releases.
data "aws_iam_policy_document" "publisher" {
  statement {
    sid       = "FindReleases"
    actions   = ["s3:ListBucket"]
    resources = [local.releases]
  }

  statement {
    sid       = "PublishReleases"
    actions   = ["s3:GetObject", "s3:PutObject", "s3:AbortMultipartUpload"]
    resources = ["${local.releases}/${var.releases_prefix}/*"]
  }
}

resource "aws_iam_policy" "this" {
  for_each = local.policies
  name     = "${var.name}-${replace(each.key, "_", "-")}"
  policy   = each.value
}
