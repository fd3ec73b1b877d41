# 1. Create the bucket in eu-west-3, closed to the public.
resource "aws_s3_bucket" "lake" {
  bucket = "acme-lake"
}

resource "aws_s3_bucket_public_access_block" "lake" {
  bucket                  = aws_s3_bucket.lake.id
  block_public_acls       = true
  ignore_public_acls      = true
  block_public_policy     = true
  restrict_public_buckets = true
}

# 2. Abort uploads that are incomplete after 7 days. If the bucket has lifecycle rules already, add this one to them: it replaces them.
resource "aws_s3_bucket_lifecycle_configuration" "lake" {
  bucket = aws_s3_bucket.lake.id
  rule {
    id     = "penstock-abort-uploads"
    status = "Enabled"
    filter {
      prefix = "exports/mixpanel/"
    }
    abort_incomplete_multipart_upload {
      days_after_initiation = 7
    }
  }
}

# 3. Create the user that writes. The last command prints access_key_id and secret_access_key.
resource "aws_iam_user" "lake" {
  name = "penstock-lake"
}

resource "aws_iam_user_policy" "lake" {
  name   = "penstock-lake"
  user   = aws_iam_user.lake.name
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Effect = "Allow"
      Action = ["s3:PutObject", "s3:GetObject", "s3:DeleteObject", "s3:AbortMultipartUpload"]
      Resource = ["arn:aws:s3:::acme-lake/exports/mixpanel/7/*", "arn:aws:s3:::acme-lake/exports/mixpanel/8/*"]
    }, {
      Effect = "Allow"
      Action = ["s3:ListBucket"]
      Resource = ["arn:aws:s3:::acme-lake"]
      Condition = {
        StringLike = {
          "s3:prefix" = ["exports/mixpanel/7/*", "exports/mixpanel/8/*"]
        }
      }
    }, {
      Effect = "Allow"
      Action = ["s3:ListBucketMultipartUploads"]
      Resource = ["arn:aws:s3:::acme-lake"]
    }]
  })
}

resource "aws_iam_access_key" "lake" {
  user = aws_iam_user.lake.name
}

