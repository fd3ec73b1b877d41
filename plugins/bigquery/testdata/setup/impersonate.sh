# 1. Enable BigQuery's API.
gcloud services enable bigquery.googleapis.com --project=acme-analytics

# 2. Create the dataset in europe-west3, without default expirations. It cannot be moved later.
bq --location=europe-west3 mk --dataset acme-analytics:mixpanel

# 3. Create the service account that writes.
gcloud iam service-accounts create export --project=acme

# 4. Let the account run jobs in the project.
gcloud projects add-iam-policy-binding acme-analytics \
    --member=serviceAccount:export@acme.iam.gserviceaccount.com --role=roles/bigquery.user \
    --condition=None

# 5. Let the account use the dataset, and no other.
bq query --project_id=acme-analytics --use_legacy_sql=false \
    'GRANT `roles/bigquery.dataEditor` ON SCHEMA `acme-analytics.mixpanel` TO "serviceAccount:export@acme.iam.gserviceaccount.com"'

# 6. Create the staging bucket in europe-west3, the dataset's location. Its rule deletes what interrupted runs have left.
gcloud storage buckets create gs://acme-staging --project=acme-analytics --location=europe-west3 \
    --uniform-bucket-level-access --public-access-prevention
LIFECYCLE=$(mktemp)
printf '%s\n' \
    '{
  "rule": [
    {
      "action": {
        "type": "Delete"
      },
      "condition": {
        "age": 2,
        "matchesPrefix": [
          "penstock_staging/"
        ]
      }
    }
  ]
}' > "$LIFECYCLE"
gcloud storage buckets update gs://acme-staging --lifecycle-file="$LIFECYCLE"

# 7. Let the account use the staging bucket.
gcloud storage buckets add-iam-policy-binding gs://acme-staging \
    --member=serviceAccount:export@acme.iam.gserviceaccount.com --role=roles/storage.objectUser
gcloud storage buckets add-iam-policy-binding gs://acme-staging \
    --member=serviceAccount:export@acme.iam.gserviceaccount.com \
    --role=roles/storage.legacyBucketReader

# 8. Let the account that the host's own credentials belong to act as it: set CALLER to its address.
CALLER=${CALLER:?the address of the service account that the host runs with}
gcloud iam service-accounts add-iam-policy-binding export@acme.iam.gserviceaccount.com \
    --member=serviceAccount:"$CALLER" --role=roles/iam.serviceAccountTokenCreator

