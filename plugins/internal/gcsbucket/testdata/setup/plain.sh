# 1. Create the bucket in US, closed to the public. Its rule deletes what interrupted replacements have put aside; unfinished uploads end by themselves after a week.
gcloud storage buckets create gs://acme-lake --uniform-bucket-level-access \
    --public-access-prevention
LIFECYCLE=$(mktemp)
printf '%s\n' \
    '{
  "rule": [
    {
      "action": {
        "type": "Delete"
      },
      "condition": {
        "age": 7,
        "matchesPrefix": [
          "7/_penstock/mp_master_event/aside/",
          "7/_penstock/mp_people_data/aside/",
          "7/_penstock/mp_identity_mappings_data/aside/"
        ]
      }
    }
  ]
}' > "$LIFECYCLE"
gcloud storage buckets update gs://acme-lake --lifecycle-file="$LIFECYCLE"

# 2. Create the service account that writes.
PROJECT=$(gcloud config get-value project)
gcloud iam service-accounts create penstock-lake --project="$PROJECT"

# 3. Let the account use the bucket, with exactly the permissions that it needs.
gcloud iam roles create penstock_lake --project="$PROJECT" --title='Penstock'\''s destination' \
    --permissions=storage.objects.create,storage.objects.delete,storage.objects.get,storage.objects.list,storage.objects.update
gcloud storage buckets add-iam-policy-binding gs://acme-lake \
    --member=serviceAccount:penstock-lake@"$PROJECT".iam.gserviceaccount.com --role=projects/"$PROJECT"/roles/penstock_lake

