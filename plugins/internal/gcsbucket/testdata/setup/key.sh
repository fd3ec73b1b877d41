# 1. Create the key in us, which must be the bucket's location, and let Cloud Storage's service agent use it.
gcloud kms keyrings describe lake --project=acme --location=us > /dev/null 2>&1 || gcloud kms keyrings create lake --project=acme --location=us
gcloud kms keys describe projects/acme/locations/us/keyRings/lake/cryptoKeys/objects > /dev/null 2>&1 || gcloud kms keys create objects --keyring=lake --purpose=encryption --project=acme --location=us
gcloud storage service-agent \
    --authorize-cmek=projects/acme/locations/us/keyRings/lake/cryptoKeys/objects

# 2. Create the bucket in us, closed to the public. Its rule deletes what interrupted replacements have put aside; unfinished uploads end by themselves after a week.
gcloud storage buckets create gs://acme-lake --location=us --uniform-bucket-level-access \
    --public-access-prevention \
    --default-encryption-key=projects/acme/locations/us/keyRings/lake/cryptoKeys/objects
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

# 3. Create the service account that writes. Its key is the value of credentials.
PROJECT=$(gcloud config get-value project)
gcloud iam service-accounts create penstock-lake --project="$PROJECT"
gcloud iam service-accounts keys create key.json --iam-account=penstock-lake@"$PROJECT".iam.gserviceaccount.com

# 4. Let the account use the bucket, with exactly the permissions that it needs.
gcloud iam roles create penstock_lake --project="$PROJECT" --title='Penstock'\''s destination' \
    --permissions=storage.objects.create,storage.objects.delete,storage.objects.get,storage.objects.list,storage.objects.update,storage.buckets.get
gcloud storage buckets add-iam-policy-binding gs://acme-lake \
    --member=serviceAccount:penstock-lake@"$PROJECT".iam.gserviceaccount.com --role=projects/"$PROJECT"/roles/penstock_lake

