# 1. Create the bucket in us-west-2, closed to the public.
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
      prefix = "a$(id)'$${x}/"
    }
    abort_incomplete_multipart_upload {
      days_after_initiation = 7
    }
  }
}

# 3. Create the role that penstock assumes. In place of the account's root, the trust policy may name the identity that the host runs with.
resource "aws_iam_role" "lake" {
  name               = "export"
  path               = "/teams/data/"
  assume_role_policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Effect = "Allow"
      Principal = {
        AWS = "arn:aws:iam::123456789012:root"
      }
      Action = "sts:AssumeRole"
      Condition = {
        StringEquals = {
          "sts:ExternalId" = ["tok'\"; $(touch x) `y` $${path.module} %%{if true} \\n"]
        }
      }
    }]
  })
}

resource "aws_iam_role_policy" "lake" {
  name   = "penstock-lake"
  role   = aws_iam_role.lake.id
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Effect = "Allow"
      Action = ["s3:PutObject", "s3:GetObject", "s3:DeleteObject", "s3:AbortMultipartUpload"]
      Resource = ["arn:aws:s3:::acme-lake/a$${$}(id)'$${$}{x}/7/*"]
    }, {
      Effect = "Allow"
      Action = ["s3:ListBucket"]
      Resource = ["arn:aws:s3:::acme-lake"]
      Condition = {
        StringLike = {
          "s3:prefix" = ["a$${$}(id)'$${$}{x}/7/*"]
        }
      }
    }, {
      Effect = "Allow"
      Action = ["s3:ListBucketMultipartUploads"]
      Resource = ["arn:aws:s3:::acme-lake"]
    }]
  })
}

# 4. Let the identity that the host runs with assume the role: attach this policy to it.
resource "aws_iam_policy" "lake_assume" {
  name   = "penstock-lake-assume"
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Effect = "Allow"
      Action = ["sts:AssumeRole"]
      Resource = ["arn:aws:iam::123456789012:role/teams/data/export"]
    }]
  })
}

