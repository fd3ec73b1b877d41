# 1. Create the bucket in us-west-2, closed to the public.
aws s3api create-bucket --bucket acme-lake --region us-west-2 --create-bucket-configuration \
    LocationConstraint=us-west-2
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
        "Prefix": "a$(id)'\''${x}/"
      },
      "AbortIncompleteMultipartUpload": {
        "DaysAfterInitiation": 7
      }
    }
  ]
}'

# 3. Create the role that penstock assumes. In place of the account's root, the trust policy may name the identity that the host runs with.
aws iam create-role --path /teams/data/ --role-name export --assume-role-policy-document \
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
            "tok'\''\"; $(touch x) `y` ${path.module} %{if true} \\n"
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
        "arn:aws:s3:::acme-lake/a${$}(id)'\''${$}{x}/7/*"
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
            "a${$}(id)'\''${$}{x}/7/*"
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
        "arn:aws:iam::123456789012:role/teams/data/export"
      ]
    }
  ]
}'

