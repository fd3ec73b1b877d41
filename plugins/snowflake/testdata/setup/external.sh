# 1. Create the bucket in eu-west-1, closed to the public.
aws s3api create-bucket --bucket acme-stage --region eu-west-1 --create-bucket-configuration \
    LocationConstraint=eu-west-1
aws s3api put-public-access-block --bucket acme-stage --public-access-block-configuration \
    BlockPublicAcls=true,IgnorePublicAcls=true,BlockPublicPolicy=true,RestrictPublicBuckets=true

# 2. Abort uploads that are incomplete after 7 days. If the bucket has lifecycle rules already, add this one to them: it replaces them.
aws s3api put-bucket-lifecycle-configuration --bucket acme-stage --lifecycle-configuration \
    '{
  "Rules": [
    {
      "ID": "penstock-abort-uploads",
      "Status": "Enabled",
      "Filter": {
        "Prefix": "penstock/"
      },
      "AbortIncompleteMultipartUpload": {
        "DaysAfterInitiation": 7
      }
    }
  ]
}'

# 3. Create the user that writes. The last command prints stage_access_key_id and stage_secret_access_key.
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
        "arn:aws:s3:::acme-stage/penstock/7/*"
      ]
    },
    {
      "Effect": "Allow",
      "Action": [
        "s3:ListBucket"
      ],
      "Resource": [
        "arn:aws:s3:::acme-stage"
      ],
      "Condition": {
        "StringLike": {
          "s3:prefix": [
            "penstock/7/*"
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
        "arn:aws:s3:::acme-stage"
      ]
    }
  ]
}'
aws iam create-access-key --user-name penstock-lake

# 4. Create the key pair of the user; the file is the value of private_key.
openssl genrsa 2048 | openssl pkcs8 -topk8 -v2 aes-256-cbc -out penstock.p8
openssl rsa -in penstock.p8 -pubout -out penstock.pub

# 5. Create database, schema, warehouse, role and user, with the rights that Penstock needs. The lines between SQL and SQL can be run in a worksheet as well, with the key in place of @KEY@ and the number of the AWS account in place of @ACCOUNT@.
KEY="$(grep -v PUBLIC penstock.pub | tr -d '\n')"
ACCOUNT=$(aws sts get-caller-identity --query Account --output text)
sed -e "s|@KEY@|$KEY|" -e "s|@ACCOUNT@|$ACCOUNT|" <<'SQL' | snow sql --stdin
USE ROLE SYSADMIN;
CREATE DATABASE IF NOT EXISTS "ANALYTICS";
CREATE SCHEMA IF NOT EXISTS "ANALYTICS"."MIXPANEL";
CREATE WAREHOUSE IF NOT EXISTS "PENSTOCK" WAREHOUSE_SIZE = XSMALL AUTO_SUSPEND = 60 AUTO_RESUME = TRUE INITIALLY_SUSPENDED = TRUE;
USE ROLE USERADMIN;
CREATE ROLE IF NOT EXISTS "PENSTOCK_LAKE";
CREATE USER IF NOT EXISTS "PENSTOCK" TYPE = SERVICE RSA_PUBLIC_KEY = '@KEY@' DEFAULT_ROLE = "PENSTOCK_LAKE" DEFAULT_WAREHOUSE = "PENSTOCK";
USE ROLE SECURITYADMIN;
GRANT ROLE "PENSTOCK_LAKE" TO USER "PENSTOCK";
GRANT USAGE ON WAREHOUSE "PENSTOCK" TO ROLE "PENSTOCK_LAKE";
GRANT USAGE ON DATABASE "ANALYTICS" TO ROLE "PENSTOCK_LAKE";
GRANT USAGE, CREATE TABLE, CREATE VIEW, CREATE STAGE ON SCHEMA "ANALYTICS"."MIXPANEL" TO ROLE "PENSTOCK_LAKE";
USE ROLE ACCOUNTADMIN;
CREATE STORAGE INTEGRATION IF NOT EXISTS "LAKE" TYPE = EXTERNAL_STAGE STORAGE_PROVIDER = 'S3' ENABLED = TRUE STORAGE_AWS_ROLE_ARN = 'arn:aws:iam::@ACCOUNT@:role/penstock-lake-snowflake' STORAGE_ALLOWED_LOCATIONS = ('s3://acme-stage/penstock/');
GRANT USAGE ON INTEGRATION "LAKE" TO ROLE "PENSTOCK_LAKE";
DESC INTEGRATION "LAKE";
SQL

# 6. Create the role with which Snowflake reads the bucket. Put the values that DESC INTEGRATION has shown in place of STORAGE_AWS_IAM_USER_ARN and STORAGE_AWS_EXTERNAL_ID.
aws iam create-role --role-name penstock-lake-snowflake --assume-role-policy-document \
    '{
  "Version": "2012-10-17",
  "Statement": [
    {
      "Effect": "Allow",
      "Principal": {
        "AWS": "STORAGE_AWS_IAM_USER_ARN"
      },
      "Action": "sts:AssumeRole",
      "Condition": {
        "StringEquals": {
          "sts:ExternalId": "STORAGE_AWS_EXTERNAL_ID"
        }
      }
    }
  ]
}'
aws iam put-role-policy --role-name penstock-lake-snowflake --policy-name penstock-lake-snowflake \
    --policy-document \
    '{
  "Version": "2012-10-17",
  "Statement": [
    {
      "Effect": "Allow",
      "Action": [
        "s3:GetObject",
        "s3:GetObjectVersion"
      ],
      "Resource": [
        "arn:aws:s3:::acme-stage/penstock/7/*"
      ]
    },
    {
      "Effect": "Allow",
      "Action": [
        "s3:ListBucket"
      ],
      "Resource": [
        "arn:aws:s3:::acme-stage"
      ],
      "Condition": {
        "StringLike": {
          "s3:prefix": [
            "penstock/7/*"
          ]
        }
      }
    },
    {
      "Effect": "Allow",
      "Action": [
        "s3:GetBucketLocation"
      ],
      "Resource": [
        "arn:aws:s3:::acme-stage"
      ]
    }
  ]
}'

