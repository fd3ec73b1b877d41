# 1. Create the bucket in cn-north-1, closed to the public.
aws s3api create-bucket --bucket acme-lake --region cn-north-1 --create-bucket-configuration \
    LocationConstraint=cn-north-1
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
        "Prefix": ""
      },
      "AbortIncompleteMultipartUpload": {
        "DaysAfterInitiation": 7
      }
    }
  ]
}'

# 3. Create the policy, and attach it to the identity that the host runs with: neither a key nor a role is configured.
aws iam create-policy --policy-name penstock-lake --policy-document \
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
        "arn:aws-cn:s3:::acme-lake/7/*"
      ]
    },
    {
      "Effect": "Allow",
      "Action": [
        "s3:ListBucket"
      ],
      "Resource": [
        "arn:aws-cn:s3:::acme-lake"
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
        "arn:aws-cn:s3:::acme-lake"
      ]
    }
  ]
}'

