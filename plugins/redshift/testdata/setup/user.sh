# 1. Create the bucket in us-east-1, closed to the public.
aws s3api create-bucket --bucket lake --region us-east-1
aws s3api put-public-access-block --bucket lake --public-access-block-configuration \
    BlockPublicAcls=true,IgnorePublicAcls=true,BlockPublicPolicy=true,RestrictPublicBuckets=true

# 2. Abort uploads that are incomplete after 7 days. If the bucket has lifecycle rules already, add this one to them: it replaces them.
aws s3api put-bucket-lifecycle-configuration --bucket lake --lifecycle-configuration \
    '{
  "Rules": [
    {
      "ID": "penstock-abort-uploads",
      "Status": "Enabled",
      "Filter": {
        "Prefix": ""
      },
      "AbortIncompleteMultipartUpload": {
        "DaysAfterInitiation": 7
      }
    }
  ]
}'

# 3. Create the user that writes. The last command prints access_key_id and secret_access_key.
aws iam create-user --user-name penstock-lake
aws iam put-user-policy --user-name penstock-lake --policy-name penstock-lake --policy-document \
    '{
  "Version": "2012-10-17",
  "Statement": [
    {
      "Effect": "Allow",
      "Action": [
        "s3:PutObject",
        "s3:GetObject",
        "s3:DeleteObject",
        "s3:AbortMultipartUpload"
      ],
      "Resource": [
        "arn:aws:s3:::lake/7/*"
      ]
    },
    {
      "Effect": "Allow",
      "Action": [
        "s3:ListBucket"
      ],
      "Resource": [
        "arn:aws:s3:::lake"
      ],
      "Condition": {
        "StringLike": {
          "s3:prefix": [
            "7/*"
          ]
        }
      }
    },
    {
      "Effect": "Allow",
      "Action": [
        "s3:ListBucketMultipartUploads"
      ],
      "Resource": [
        "arn:aws:s3:::lake"
      ]
    }
  ]
}'
aws iam create-access-key --user-name penstock-lake

# 4. Let the same user do more: the policy for Glue and Redshift.
aws iam put-user-policy --user-name penstock-lake --policy-name penstock-lake-catalog \
    --policy-document \
    '{
  "Version": "2012-10-17",
  "Statement": [
    {
      "Effect": "Allow",
      "Action": [
        "glue:GetDatabase",
        "glue:GetTable",
        "glue:CreateTable",
        "glue:UpdateTable",
        "glue:CreateDatabase"
      ],
      "Resource": [
        "arn:aws:glue:eu-west-1:*:catalog",
        "arn:aws:glue:eu-west-1:*:database/mp",
        "arn:aws:glue:eu-west-1:*:table/mp/mp_master_event",
        "arn:aws:glue:eu-west-1:*:table/mp/mp_people_data",
        "arn:aws:glue:eu-west-1:*:table/mp/mp_identity_mappings_data"
      ]
    },
    {
      "Effect": "Allow",
      "Action": [
        "glue:BatchCreatePartition",
        "glue:BatchGetPartition",
        "glue:BatchUpdatePartition"
      ],
      "Resource": [
        "arn:aws:glue:eu-west-1:*:catalog",
        "arn:aws:glue:eu-west-1:*:database/mp",
        "arn:aws:glue:eu-west-1:*:table/mp/mp_master_event"
      ]
    },
    {
      "Effect": "Allow",
      "Action": [
        "redshift-data:ExecuteStatement"
      ],
      "Resource": [
        "arn:aws:redshift:us-west-2:*:cluster:dwh"
      ]
    },
    {
      "Effect": "Allow",
      "Action": [
        "redshift:GetClusterCredentials"
      ],
      "Resource": [
        "arn:aws:redshift:us-west-2:*:dbuser:dwh/penstock",
        "arn:aws:redshift:us-west-2:*:dbname:dwh/dev"
      ]
    },
    {
      "Effect": "Allow",
      "Action": [
        "redshift-data:DescribeStatement",
        "redshift-data:GetStatementResult",
        "redshift-data:CancelStatement"
      ],
      "Resource": [
        "*"
      ],
      "Condition": {
        "StringEquals": {
          "redshift-data:statement-owner-iam-userid": "${aws:userid}"
        }
      }
    }
  ]
}'

# 5. Create the policy with which Redshift itself reads, and attach it to the default role of the workgroup or cluster.
aws iam create-policy --policy-name penstock-lake-read --policy-document \
    '{
  "Version": "2012-10-17",
  "Statement": [
    {
      "Effect": "Allow",
      "Action": [
        "s3:GetObject"
      ],
      "Resource": [
        "arn:aws:s3:::lake/7/*"
      ]
    },
    {
      "Effect": "Allow",
      "Action": [
        "s3:ListBucket"
      ],
      "Resource": [
        "arn:aws:s3:::lake"
      ],
      "Condition": {
        "StringLike": {
          "s3:prefix": [
            "7/*"
          ]
        }
      }
    },
    {
      "Effect": "Allow",
      "Action": [
        "glue:GetDatabase",
        "glue:GetTable",
        "glue:GetTables",
        "glue:GetPartition",
        "glue:GetPartitions"
      ],
      "Resource": [
        "arn:aws:glue:eu-west-1:*:catalog",
        "arn:aws:glue:eu-west-1:*:database/mp",
        "arn:aws:glue:eu-west-1:*:table/mp/mp_master_event",
        "arn:aws:glue:eu-west-1:*:table/mp/mp_people_data",
        "arn:aws:glue:eu-west-1:*:table/mp/mp_identity_mappings_data"
      ]
    }
  ]
}'

# 6. As an administrator of the database, let the user of the Data API create the external schema.
aws redshift-data execute-statement --cluster-identifier dwh --database dev --sql \
    'GRANT CREATE ON DATABASE "dev" TO "penstock"' --region us-west-2

# 7. Only where Lake Formation governs the catalog: an administrator of the data lake grants this too, since IAM alone is not enough.
# aws lakeformation grant-permissions --principal DataLakePrincipalIdentifier=ROLE --permissions \
#     CREATE_TABLE ALTER DESCRIBE --resource '{"Database":{"Name":"mp"}}'
# aws lakeformation grant-permissions --principal DataLakePrincipalIdentifier=ROLE --permissions ALTER \
#     DESCRIBE INSERT DELETE --resource '{"Table":{"DatabaseName":"mp","TableWildcard":{}}}'
# aws lakeformation grant-permissions --principal DataLakePrincipalIdentifier=ROLE --permissions \
#     DATA_LOCATION_ACCESS --resource '{"DataLocation":{"ResourceArn":"arn:aws:s3:::lake"}}'

