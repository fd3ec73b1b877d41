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
      prefix = ""
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
          "sts:ExternalId" = ["tok", "tok2"]
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
      Resource = ["arn:aws:s3:::acme-lake/7/*", "arn:aws:s3:::acme-lake/8/*"]
    }, {
      Effect = "Allow"
      Action = ["s3:ListBucket"]
      Resource = ["arn:aws:s3:::acme-lake"]
      Condition = {
        StringLike = {
          "s3:prefix" = ["7/*", "8/*"]
        }
      }
    }, {
      Effect = "Allow"
      Action = ["s3:ListBucketMultipartUploads"]
      Resource = ["arn:aws:s3:::acme-lake"]
    }, {
      Effect = "Allow"
      Action = ["kms:GenerateDataKey", "kms:Decrypt"]
      Resource = ["arn:aws:kms:us-west-2:210987654321:key/11111111-2222-4333-8444-555555555555"]
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

# 5. Let the role use the key, as an administrator of the key in account 210987654321.
resource "aws_kms_grant" "lake" {
  name              = "penstock-lake"
  key_id            = "arn:aws:kms:us-west-2:210987654321:key/11111111-2222-4333-8444-555555555555"
  grantee_principal = aws_iam_role.lake.arn
  operations        = ["GenerateDataKey", "Decrypt"]
}

# 6. Open the bucket to the role, as its owner, account 210987654321. If the bucket has a policy already, add the statements to it.
resource "aws_s3_bucket_policy" "lake" {
  bucket = aws_s3_bucket.lake.id
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Effect = "Allow"
      Principal = {
        AWS = "arn:aws:iam::123456789012:role/teams/data/export"
      }
      Action = ["s3:PutObject", "s3:GetObject", "s3:DeleteObject", "s3:AbortMultipartUpload"]
      Resource = ["arn:aws:s3:::acme-lake/7/*", "arn:aws:s3:::acme-lake/8/*"]
    }, {
      Effect = "Allow"
      Principal = {
        AWS = "arn:aws:iam::123456789012:role/teams/data/export"
      }
      Action = ["s3:ListBucket"]
      Resource = ["arn:aws:s3:::acme-lake"]
      Condition = {
        StringLike = {
          "s3:prefix" = ["7/*", "8/*"]
        }
      }
    }, {
      Effect = "Allow"
      Principal = {
        AWS = "arn:aws:iam::123456789012:role/teams/data/export"
      }
      Action = ["s3:ListBucketMultipartUploads"]
      Resource = ["arn:aws:s3:::acme-lake"]
    }]
  })
}

