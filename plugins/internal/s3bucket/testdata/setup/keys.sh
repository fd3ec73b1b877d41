# 1. Create the bucket in eu-west-3, closed to the public.
aws s3api create-bucket --bucket acme-lake --region eu-west-3 --create-bucket-configuration \
    LocationConstraint=eu-west-3
aws s3api put-public-access-block --bucket acme-lake --public-access-block-configuration \
    BlockPublicAcls=true,IgnorePublicAcls=true,BlockPublicPolicy=true,RestrictPublicBuckets=true

# 2. Abort uploads that are incomplete after 7 days. If the bucket has lifecycle rules already, add this one to them: it replaces them.
aws s3api put-bucket-lifecycle-configuration --bucket acme-lake --lifecycle-configuration \
    '{
  "Rules": [
    {
      "ID": "penstock-abort-uploads",
      "Status": "Enabled",
      "Filter": {
        "Prefix": "exports/mixpanel/"
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
        "arn:aws:s3:::acme-lake/exports/mixpanel/7/*",
        "arn:aws:s3:::acme-lake/exports/mixpanel/8/*"
      ]
    },
    {
      "Effect": "Allow",
      "Action": [
        "s3:ListBucket"
      ],
      "Resource": [
        "arn:aws:s3:::acme-lake"
      ],
      "Condition": {
        "StringLike": {
          "s3:prefix": [
            "exports/mixpanel/7/*",
            "exports/mixpanel/8/*"
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
        "arn:aws:s3:::acme-lake"
      ]
    }
  ]
}'
aws iam create-access-key --user-name penstock-lake

