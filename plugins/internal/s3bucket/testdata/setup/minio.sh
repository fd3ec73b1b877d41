# 1. Create the bucket (in the region of your CLI's configuration), closed to the public.
aws --endpoint-url https://minio.acme.example:9000 s3api create-bucket --bucket lake

# 2. Abort uploads that are incomplete after 7 days. If the bucket has lifecycle rules already, add this one to them: it replaces them.
aws --endpoint-url https://minio.acme.example:9000 s3api put-bucket-lifecycle-configuration --bucket \
    lake --lifecycle-configuration \
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

# 3. Let the access key write to the bucket: https://minio.acme.example:9000 is not Amazon's, and has its own way.
# The keys of access_key_id need these actions, in the language of the server's own policies:
# {
#   "Version": "2012-10-17",
#   "Statement": [
#     {
#       "Effect": "Allow",
#       "Action": [
#         "s3:PutObject",
#         "s3:GetObject",
#         "s3:DeleteObject",
#         "s3:AbortMultipartUpload"
#       ],
#       "Resource": [
#         "arn:aws:s3:::lake/7/*"
#       ]
#     },
#     {
#       "Effect": "Allow",
#       "Action": [
#         "s3:ListBucket"
#       ],
#       "Resource": [
#         "arn:aws:s3:::lake"
#       ],
#       "Condition": {
#         "StringLike": {
#           "s3:prefix": [
#             "7/*"
#           ]
#         }
#       }
#     },
#     {
#       "Effect": "Allow",
#       "Action": [
#         "s3:ListBucketMultipartUploads"
#       ],
#       "Resource": [
#         "arn:aws:s3:::lake"
#       ]
#     }
#   ]
# }

