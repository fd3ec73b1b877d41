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

# 3. Create the role that penstock assumes. In place of the account's root, the trust policy may name the identity that the host runs with.
aws iam create-role --path / --role-name export --assume-role-policy-document \
    '{
  "Version": "2012-10-17",
  "Statement": [
    {
      "Effect": "Allow",
      "Principal": {
        "AWS": "arn:aws:iam::123456789012:root"
      },
      "Action": "sts:AssumeRole",
      "Condition": {
        "StringEquals": {
          "sts:ExternalId": [
            "token"
          ]
        }
      }
    }
  ]
}'
aws iam put-role-policy --role-name export --policy-name penstock-lake --policy-document \
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
    },
    {
      "Effect": "Allow",
      "Action": [
        "kms:GenerateDataKey",
        "kms:Decrypt"
      ],
      "Resource": [
        "arn:aws:kms:us-east-1:123456789012:key/11111111-2222-4333-8444-555555555555"
      ]
    }
  ]
}'

# 4. Let the identity that the host runs with assume the role: attach this policy to it.
aws iam create-policy --policy-name penstock-lake-assume --policy-document \
    '{
  "Version": "2012-10-17",
  "Statement": [
    {
      "Effect": "Allow",
      "Action": [
        "sts:AssumeRole"
      ],
      "Resource": [
        "arn:aws:iam::123456789012:role/export"
      ]
    }
  ]
}'

# 5. Let the role use the key, as an administrator of the key in account 123456789012.
aws kms create-grant --key-id \
    arn:aws:kms:us-east-1:123456789012:key/11111111-2222-4333-8444-555555555555 --grantee-principal \
    arn:aws:iam::123456789012:role/export --operations GenerateDataKey Decrypt

# 6. Create the role for Glue. Create the role that penstock assumes. In place of the account's root, the trust policy may name the identity that the host runs with.
aws iam create-role --path / --role-name catalog --assume-role-policy-document \
    '{
  "Version": "2012-10-17",
  "Statement": [
    {
      "Effect": "Allow",
      "Principal": {
        "AWS": "arn:aws:iam::210987654321:root"
      },
      "Action": "sts:AssumeRole",
      "Condition": {
        "StringEquals": {
          "sts:ExternalId": [
            "token"
          ]
        }
      }
    }
  ]
}'
aws iam put-role-policy --role-name catalog --policy-name penstock-lake-glue --policy-document \
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
        "arn:aws:glue:eu-west-1:210987654321:catalog",
        "arn:aws:glue:eu-west-1:210987654321:database/mp",
        "arn:aws:glue:eu-west-1:210987654321:table/mp/mp_master_event",
        "arn:aws:glue:eu-west-1:210987654321:table/mp/mp_people_data",
        "arn:aws:glue:eu-west-1:210987654321:table/mp/mp_identity_mappings_data"
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
        "arn:aws:glue:eu-west-1:210987654321:catalog",
        "arn:aws:glue:eu-west-1:210987654321:database/mp",
        "arn:aws:glue:eu-west-1:210987654321:table/mp/mp_master_event"
      ]
    }
  ]
}'

# 7. Let the identity that the host runs with assume the role: attach this policy to it.
aws iam create-policy --policy-name penstock-lake-glue-assume --policy-document \
    '{
  "Version": "2012-10-17",
  "Statement": [
    {
      "Effect": "Allow",
      "Action": [
        "sts:AssumeRole"
      ],
      "Resource": [
        "arn:aws:iam::210987654321:role/catalog"
      ]
    }
  ]
}'

# 8. Create the role for Redshift. Create the role that penstock assumes. In place of the account's root, the trust policy may name the identity that the host runs with.
aws iam create-role --path / --role-name query --assume-role-policy-document \
    '{
  "Version": "2012-10-17",
  "Statement": [
    {
      "Effect": "Allow",
      "Principal": {
        "AWS": "arn:aws:iam::123456789012:root"
      },
      "Action": "sts:AssumeRole",
      "Condition": {
        "StringEquals": {
          "sts:ExternalId": [
            "token"
          ]
        }
      }
    }
  ]
}'
aws iam put-role-policy --role-name query --policy-name penstock-lake-redshift --policy-document \
    '{
  "Version": "2012-10-17",
  "Statement": [
    {
      "Effect": "Allow",
      "Action": [
        "redshift-data:ExecuteStatement",
        "redshift-serverless:GetCredentials"
      ],
      "Resource": [
        "arn:aws:redshift-serverless:us-west-2:123456789012:workgroup/5e6f"
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

# 9. Let the identity that the host runs with assume the role: attach this policy to it.
aws iam create-policy --policy-name penstock-lake-redshift-assume --policy-document \
    '{
  "Version": "2012-10-17",
  "Statement": [
    {
      "Effect": "Allow",
      "Action": [
        "sts:AssumeRole"
      ],
      "Resource": [
        "arn:aws:iam::123456789012:role/query"
      ]
    }
  ]
}'

# 10. Create the role with which Redshift itself reads, and attach it to the workgroup or cluster.
aws iam create-role --path /teams/ --role-name read --assume-role-policy-document \
    '{
  "Version": "2012-10-17",
  "Statement": [
    {
      "Effect": "Allow",
      "Principal": {
        "Service": [
          "redshift.amazonaws.com",
          "redshift-serverless.amazonaws.com"
        ]
      },
      "Action": "sts:AssumeRole"
    }
  ]
}'
aws iam put-role-policy --role-name read --policy-name penstock-lake-read --policy-document \
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
        "kms:Decrypt"
      ],
      "Resource": [
        "arn:aws:kms:us-east-1:123456789012:key/11111111-2222-4333-8444-555555555555"
      ]
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
        "arn:aws:glue:eu-west-1:210987654321:catalog",
        "arn:aws:glue:eu-west-1:210987654321:database/mp",
        "arn:aws:glue:eu-west-1:210987654321:table/mp/mp_master_event",
        "arn:aws:glue:eu-west-1:210987654321:table/mp/mp_people_data",
        "arn:aws:glue:eu-west-1:210987654321:table/mp/mp_identity_mappings_data"
      ]
    }
  ]
}'
# Add the role to the namespace of the workgroup; update-namespace replaces the list of its roles:
# aws redshift-serverless update-namespace --namespace-name NAMESPACE --iam-roles \
#     arn:aws:iam::123456789012:role/teams/read

# 11. As an administrator of the database, let the user of the Data API create the external schema. The user may exist already: the first statement then fails, and changes nothing.
aws redshift-data execute-statement --workgroup-name \
    arn:aws:redshift-serverless:us-west-2:123456789012:workgroup/5e6f --database dev --sql \
    'CREATE USER "IAMR:query" PASSWORD DISABLE' --region us-west-2
aws redshift-data execute-statement --workgroup-name \
    arn:aws:redshift-serverless:us-west-2:123456789012:workgroup/5e6f --database dev --sql \
    'GRANT CREATE ON DATABASE "dev" TO "IAMR:query"' --region us-west-2

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

