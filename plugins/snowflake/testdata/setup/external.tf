# 1. Create the bucket in eu-west-1, closed to the public.
resource "aws_s3_bucket" "lake" {
  bucket = "acme-stage"
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
      prefix = "penstock/"
    }
    abort_incomplete_multipart_upload {
      days_after_initiation = 7
    }
  }
}

# 3. Create the user that writes. The last command prints stage_access_key_id and stage_secret_access_key.
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
      Resource = ["arn:aws:s3:::acme-stage/penstock/7/*"]
    }, {
      Effect = "Allow"
      Action = ["s3:ListBucket"]
      Resource = ["arn:aws:s3:::acme-stage"]
      Condition = {
        StringLike = {
          "s3:prefix" = ["penstock/7/*"]
        }
      }
    }, {
      Effect = "Allow"
      Action = ["s3:ListBucketMultipartUploads"]
      Resource = ["arn:aws:s3:::acme-stage"]
    }]
  })
}

resource "aws_iam_access_key" "lake" {
  user = aws_iam_user.lake.name
}

# 4. Create the key pair of the user; the file is the value of private_key.
# openssl genrsa 2048 | openssl pkcs8 -topk8 -v2 aes-256-cbc -out penstock.p8
# openssl rsa -in penstock.p8 -pubout -out penstock.pub

# 5. Create database, schema, warehouse, role and user, with the rights that Penstock needs.
variable "penstock_public_key" {
  description = "The content of penstock.pub without its first and last line and without line breaks"
}

resource "snowflake_database" "lake" {
  name = "ANALYTICS"
}

resource "snowflake_schema" "lake" {
  database = snowflake_database.lake.name
  name     = "MIXPANEL"
}

resource "snowflake_warehouse" "lake" {
  name                = "PENSTOCK"
  warehouse_size      = "XSMALL"
  auto_suspend        = 60
  auto_resume         = "true"
  initially_suspended = true
}

resource "snowflake_account_role" "lake" {
  name = "PENSTOCK_LAKE"
}

resource "snowflake_service_user" "lake" {
  name              = "PENSTOCK"
  default_role      = snowflake_account_role.lake.name
  default_warehouse = snowflake_warehouse.lake.name
  rsa_public_key    = var.penstock_public_key
}

resource "snowflake_grant_account_role" "lake" {
  role_name = snowflake_account_role.lake.name
  user_name = snowflake_service_user.lake.name
}

resource "snowflake_grant_privileges_to_account_role" "lake_warehouse" {
  account_role_name = snowflake_account_role.lake.name
  privileges        = ["USAGE"]
  on_account_object {
    object_type = "WAREHOUSE"
    object_name = snowflake_warehouse.lake.name
  }
}

resource "snowflake_grant_privileges_to_account_role" "lake_database" {
  account_role_name = snowflake_account_role.lake.name
  privileges        = ["USAGE"]
  on_account_object {
    object_type = "DATABASE"
    object_name = snowflake_database.lake.name
  }
}

resource "snowflake_grant_privileges_to_account_role" "lake_schema" {
  account_role_name = snowflake_account_role.lake.name
  privileges        = ["USAGE", "CREATE TABLE", "CREATE VIEW", "CREATE STAGE"]
  on_schema {
    schema_name = snowflake_schema.lake.fully_qualified_name
  }
}

data "aws_caller_identity" "lake" {
}

resource "snowflake_storage_integration" "lake" {
  name                      = "LAKE"
  type                      = "EXTERNAL_STAGE"
  storage_provider          = "S3"
  enabled                   = true
  storage_aws_role_arn      = "arn:aws:iam::${data.aws_caller_identity.lake.account_id}:role/penstock-lake-snowflake"
  storage_allowed_locations = ["s3://acme-stage/penstock/"]
}

resource "snowflake_grant_privileges_to_account_role" "lake_integration" {
  account_role_name = snowflake_account_role.lake.name
  privileges        = ["USAGE"]
  on_account_object {
    object_type = "INTEGRATION"
    object_name = snowflake_storage_integration.lake.name
  }
}

resource "aws_iam_role" "lake_snowflake" {
  name               = "penstock-lake-snowflake"
  assume_role_policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Effect = "Allow"
      Principal = {
        AWS = snowflake_storage_integration.lake.storage_aws_iam_user_arn
      }
      Action = "sts:AssumeRole"
      Condition = {
        StringEquals = {
          "sts:ExternalId" = snowflake_storage_integration.lake.storage_aws_external_id
        }
      }
    }]
  })
}

resource "aws_iam_role_policy" "lake_snowflake" {
  name   = "penstock-lake-snowflake"
  role   = aws_iam_role.lake_snowflake.id
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Effect = "Allow"
      Action = ["s3:GetObject", "s3:GetObjectVersion"]
      Resource = ["arn:aws:s3:::acme-stage/penstock/7/*"]
    }, {
      Effect = "Allow"
      Action = ["s3:ListBucket"]
      Resource = ["arn:aws:s3:::acme-stage"]
      Condition = {
        StringLike = {
          "s3:prefix" = ["penstock/7/*"]
        }
      }
    }, {
      Effect = "Allow"
      Action = ["s3:GetBucketLocation"]
      Resource = ["arn:aws:s3:::acme-stage"]
    }]
  })
}

