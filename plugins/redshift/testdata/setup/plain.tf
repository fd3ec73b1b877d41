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

# 3. Create the policy, and attach it to the identity that the host runs with: neither a key nor a role is configured.
resource "aws_iam_policy" "lake" {
  name   = "penstock-lake"
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
    }]
  })
}

# 4. Create the policy for Glue and Redshift, and attach it to the identity that the host uses.
resource "aws_iam_policy" "lake_catalog" {
  name   = "penstock-lake-catalog"
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Effect = "Allow"
      Action = ["glue:GetDatabase", "glue:GetTable", "glue:CreateTable", "glue:UpdateTable", "glue:CreateDatabase"]
      Resource = ["arn:aws:glue:eu-west-1:*:catalog", "arn:aws:glue:eu-west-1:*:database/mp", "arn:aws:glue:eu-west-1:*:table/mp/mp_master_event", "arn:aws:glue:eu-west-1:*:table/mp/mp_people_data", "arn:aws:glue:eu-west-1:*:table/mp/mp_identity_mappings_data"]
    }, {
      Effect = "Allow"
      Action = ["glue:BatchCreatePartition", "glue:BatchGetPartition", "glue:BatchUpdatePartition"]
      Resource = ["arn:aws:glue:eu-west-1:*:catalog", "arn:aws:glue:eu-west-1:*:database/mp", "arn:aws:glue:eu-west-1:*:table/mp/mp_master_event"]
    }, {
      Effect = "Allow"
      Action = ["redshift-data:ExecuteStatement", "redshift-serverless:GetCredentials"]
      Resource = ["arn:aws:redshift-serverless:us-west-2:*:workgroup/*"]
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

# 5. Create the policy with which Redshift itself reads, and attach it to the default role of the workgroup or cluster.
resource "aws_iam_policy" "lake_read" {
  name   = "penstock-lake-read"
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
      Action = ["glue:GetDatabase", "glue:GetTable", "glue:GetTables", "glue:GetPartition", "glue:GetPartitions"]
      Resource = ["arn:aws:glue:eu-west-1:*:catalog", "arn:aws:glue:eu-west-1:*:database/mp", "arn:aws:glue:eu-west-1:*:table/mp/mp_master_event", "arn:aws:glue:eu-west-1:*:table/mp/mp_people_data", "arn:aws:glue:eu-west-1:*:table/mp/mp_identity_mappings_data"]
    }]
  })
}

# 6. As an administrator of the database, let the user of the Data API create the external schema. The user may exist already: the first statement then fails, and changes nothing. Put the role or, as IAM:NAME, the user that the host runs with in place of IAMR:ROLE.
resource "aws_redshiftdata_statement" "lake_1" {
  workgroup_name = "wg"
  database       = "dev"
  sql            = "CREATE USER \"IAMR:ROLE\" PASSWORD DISABLE"
}

resource "aws_redshiftdata_statement" "lake_2" {
  workgroup_name = "wg"
  database       = "dev"
  sql            = "GRANT CREATE ON DATABASE \"dev\" TO \"IAMR:ROLE\""
}

# 7. Only where Lake Formation governs the catalog: an administrator of the data lake grants this too, since IAM alone is not enough.
# aws lakeformation grant-permissions --principal DataLakePrincipalIdentifier=ROLE --permissions \
#     CREATE_TABLE ALTER DESCRIBE --resource '{"Database":{"Name":"mp"}}'
# aws lakeformation grant-permissions --principal DataLakePrincipalIdentifier=ROLE --permissions ALTER \
#     DESCRIBE INSERT DELETE --resource '{"Table":{"DatabaseName":"mp","TableWildcard":{}}}'
# aws lakeformation grant-permissions --principal DataLakePrincipalIdentifier=ROLE --permissions \
#     DATA_LOCATION_ACCESS --resource '{"DataLocation":{"ResourceArn":"arn:aws:s3:::lake"}}'

