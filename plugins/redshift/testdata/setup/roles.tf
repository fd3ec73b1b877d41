# 1. Create the bucket in us-east-1, closed to the public.
resource "aws_s3_bucket" "lake" {
  bucket = "lake"
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
  path               = "/"
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
          "sts:ExternalId" = ["token"]
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
      Resource = ["arn:aws:s3:::lake/7/*"]
    }, {
      Effect = "Allow"
      Action = ["s3:ListBucket"]
      Resource = ["arn:aws:s3:::lake"]
      Condition = {
        StringLike = {
          "s3:prefix" = ["7/*"]
        }
      }
    }, {
      Effect = "Allow"
      Action = ["s3:ListBucketMultipartUploads"]
      Resource = ["arn:aws:s3:::lake"]
    }, {
      Effect = "Allow"
      Action = ["kms:GenerateDataKey", "kms:Decrypt"]
      Resource = ["arn:aws:kms:us-east-1:123456789012:key/11111111-2222-4333-8444-555555555555"]
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
      Resource = ["arn:aws:iam::123456789012:role/export"]
    }]
  })
}

# 5. Let the role use the key, as an administrator of the key in account 123456789012.
resource "aws_kms_grant" "lake" {
  name              = "penstock-lake"
  key_id            = "arn:aws:kms:us-east-1:123456789012:key/11111111-2222-4333-8444-555555555555"
  grantee_principal = aws_iam_role.lake.arn
  operations        = ["GenerateDataKey", "Decrypt"]
}

# 6. Create the role for Glue. Create the role that penstock assumes. In place of the account's root, the trust policy may name the identity that the host runs with.
resource "aws_iam_role" "lake_glue" {
  name               = "catalog"
  path               = "/"
  assume_role_policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Effect = "Allow"
      Principal = {
        AWS = "arn:aws:iam::210987654321:root"
      }
      Action = "sts:AssumeRole"
      Condition = {
        StringEquals = {
          "sts:ExternalId" = ["token"]
        }
      }
    }]
  })
}

resource "aws_iam_role_policy" "lake_glue" {
  name   = "penstock-lake-glue"
  role   = aws_iam_role.lake_glue.id
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Effect = "Allow"
      Action = ["glue:GetDatabase", "glue:GetTable", "glue:CreateTable", "glue:UpdateTable", "glue:CreateDatabase"]
      Resource = ["arn:aws:glue:eu-west-1:210987654321:catalog", "arn:aws:glue:eu-west-1:210987654321:database/mp", "arn:aws:glue:eu-west-1:210987654321:table/mp/mp_master_event", "arn:aws:glue:eu-west-1:210987654321:table/mp/mp_people_data", "arn:aws:glue:eu-west-1:210987654321:table/mp/mp_identity_mappings_data"]
    }, {
      Effect = "Allow"
      Action = ["glue:BatchCreatePartition", "glue:BatchGetPartition", "glue:BatchUpdatePartition"]
      Resource = ["arn:aws:glue:eu-west-1:210987654321:catalog", "arn:aws:glue:eu-west-1:210987654321:database/mp", "arn:aws:glue:eu-west-1:210987654321:table/mp/mp_master_event"]
    }]
  })
}

# 7. Let the identity that the host runs with assume the role: attach this policy to it.
resource "aws_iam_policy" "lake_glue_assume" {
  name   = "penstock-lake-glue-assume"
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Effect = "Allow"
      Action = ["sts:AssumeRole"]
      Resource = ["arn:aws:iam::210987654321:role/catalog"]
    }]
  })
}

# 8. Create the role for Redshift. Create the role that penstock assumes. In place of the account's root, the trust policy may name the identity that the host runs with.
resource "aws_iam_role" "lake_redshift" {
  name               = "query"
  path               = "/"
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
          "sts:ExternalId" = ["token"]
        }
      }
    }]
  })
}

resource "aws_iam_role_policy" "lake_redshift" {
  name   = "penstock-lake-redshift"
  role   = aws_iam_role.lake_redshift.id
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Effect = "Allow"
      Action = ["redshift-data:ExecuteStatement", "redshift-serverless:GetCredentials"]
      Resource = ["arn:aws:redshift-serverless:us-west-2:123456789012:workgroup/5e6f"]
    }, {
      Effect = "Allow"
      Action = ["redshift-data:DescribeStatement", "redshift-data:GetStatementResult", "redshift-data:CancelStatement"]
      Resource = ["*"]
      Condition = {
        StringEquals = {
          "redshift-data:statement-owner-iam-userid" = "$${aws:userid}"
        }
      }
    }]
  })
}

# 9. Let the identity that the host runs with assume the role: attach this policy to it.
resource "aws_iam_policy" "lake_redshift_assume" {
  name   = "penstock-lake-redshift-assume"
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Effect = "Allow"
      Action = ["sts:AssumeRole"]
      Resource = ["arn:aws:iam::123456789012:role/query"]
    }]
  })
}

# 10. Create the role with which Redshift itself reads, and attach it to the workgroup or cluster.
resource "aws_iam_role" "lake_read" {
  name               = "read"
  path               = "/teams/"
  assume_role_policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Effect = "Allow"
      Principal = {
        Service = ["redshift.amazonaws.com", "redshift-serverless.amazonaws.com"]
      }
      Action = "sts:AssumeRole"
    }]
  })
}

resource "aws_iam_role_policy" "lake_read" {
  name   = "penstock-lake-read"
  role   = aws_iam_role.lake_read.id
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Effect = "Allow"
      Action = ["s3:GetObject"]
      Resource = ["arn:aws:s3:::lake/7/*"]
    }, {
      Effect = "Allow"
      Action = ["s3:ListBucket"]
      Resource = ["arn:aws:s3:::lake"]
      Condition = {
        StringLike = {
          "s3:prefix" = ["7/*"]
        }
      }
    }, {
      Effect = "Allow"
      Action = ["kms:Decrypt"]
      Resource = ["arn:aws:kms:us-east-1:123456789012:key/11111111-2222-4333-8444-555555555555"]
    }, {
      Effect = "Allow"
      Action = ["glue:GetDatabase", "glue:GetTable", "glue:GetTables", "glue:GetPartition", "glue:GetPartitions"]
      Resource = ["arn:aws:glue:eu-west-1:210987654321:catalog", "arn:aws:glue:eu-west-1:210987654321:database/mp", "arn:aws:glue:eu-west-1:210987654321:table/mp/mp_master_event", "arn:aws:glue:eu-west-1:210987654321:table/mp/mp_people_data", "arn:aws:glue:eu-west-1:210987654321:table/mp/mp_identity_mappings_data"]
    }]
  })
}

# Add the role to iam_roles of the cluster or of the workgroup's namespace.

# 11. As an administrator of the database, let the user of the Data API create the external schema. The user may exist already: the first statement then fails, and changes nothing.
resource "aws_redshiftdata_statement" "lake_1" {
  workgroup_name = "arn:aws:redshift-serverless:us-west-2:123456789012:workgroup/5e6f"
  database       = "dev"
  sql            = "CREATE USER \"IAMR:query\" PASSWORD DISABLE"
}

resource "aws_redshiftdata_statement" "lake_2" {
  workgroup_name = "arn:aws:redshift-serverless:us-west-2:123456789012:workgroup/5e6f"
  database       = "dev"
  sql            = "GRANT CREATE ON DATABASE \"dev\" TO \"IAMR:query\""
}

# 12. Only where Lake Formation governs the catalog: an administrator of the data lake grants this too, since IAM alone is not enough.
# aws lakeformation grant-permissions --principal \
#     DataLakePrincipalIdentifier=arn:aws:iam::210987654321:role/catalog --permissions CREATE_TABLE \
#     ALTER DESCRIBE --resource '{"Database":{"Name":"mp"}}'
# aws lakeformation grant-permissions --principal \
#     DataLakePrincipalIdentifier=arn:aws:iam::210987654321:role/catalog --permissions ALTER DESCRIBE \
#     INSERT DELETE --resource '{"Table":{"DatabaseName":"mp","TableWildcard":{}}}'
# aws lakeformation grant-permissions --principal \
#     DataLakePrincipalIdentifier=arn:aws:iam::210987654321:role/catalog --permissions \
#     DATA_LOCATION_ACCESS --resource '{"DataLocation":{"ResourceArn":"arn:aws:s3:::lake"}}'

