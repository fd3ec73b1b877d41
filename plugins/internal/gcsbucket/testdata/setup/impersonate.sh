# 1. Create the bucket in europe-west3, closed to the public. Its rule deletes what interrupted replacements have put aside; unfinished uploads end by themselves after a week.
gcloud storage buckets create gs://acme-lake --location=europe-west3 --uniform-bucket-level-access \
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
gcloud iam service-accounts create export --project=acme

# 3. Let the account use the bucket, with exactly the permissions that it needs.
gcloud iam roles create penstock_lake --project=acme --title='Penstock'\''s destination' \
    --permissions=storage.objects.create,storage.objects.delete,storage.objects.get,storage.objects.list,storage.objects.update,storage.buckets.get
gcloud storage buckets add-iam-policy-binding gs://acme-lake \
    --member=serviceAccount:export@acme.iam.gserviceaccount.com --role=projects/acme/roles/penstock_lake

# 4. Let the account that the host's own credentials belong to act as it: set CALLER to its address.
CALLER=${CALLER:?the address of the service account that the host runs with}
gcloud iam service-accounts add-iam-policy-binding export@acme.iam.gserviceaccount.com \
    --member=serviceAccount:"$CALLER" --role=roles/iam.serviceAccountTokenCreator

