# 1. Create the bucket in cn-north-1, closed to the public.
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
      prefix = ""
    }
    abort_incomplete_multipart_upload {
      days_after_initiation = 7
    }
  }
}

# 3. Create the policy, and attach it to the identity that the host runs with: neither a key nor a role is configured.
resource "aws_iam_policy" "lake" {
  name   = "penstock-lake"
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Effect = "Allow"
      Action = ["s3:PutObject", "s3:GetObject", "s3:DeleteObject", "s3:AbortMultipartUpload"]
      Resource = ["arn:aws-cn:s3:::acme-lake/7/*"]
    }, {
      Effect = "Allow"
      Action = ["s3:ListBucket"]
      Resource = ["arn:aws-cn:s3:::acme-lake"]
      Condition = {
        StringLike = {
          "s3:prefix" = ["7/*"]
        }
      }
    }, {
      Effect = "Allow"
      Action = ["s3:ListBucketMultipartUploads"]
      Resource = ["arn:aws-cn:s3:::acme-lake"]
    }]
  })
}

