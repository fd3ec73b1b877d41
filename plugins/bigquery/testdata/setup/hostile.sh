# 1. Enable BigQuery's API.
gcloud services enable bigquery.googleapis.com --project=acme-analytics

# 2. Create the dataset in EU, without default expirations. It cannot be moved later.
bq --location=EU mk --dataset acme-analytics:mixpanel

# 3. Create the service account that writes.
gcloud iam service-accounts create 'x;y'\''$(id)' --project=acme

# 4. Let the account run jobs in the project.
gcloud projects add-iam-policy-binding acme-analytics \
    '--member=serviceAccount:x;y'\''$(id)@acme.iam.gserviceaccount.com' \
    --role=roles/bigquery.jobUser --condition=None

# 5. Let the account use the dataset, and no other.
bq query --project_id=acme-analytics --use_legacy_sql=false \
    'GRANT `roles/bigquery.dataEditor` ON SCHEMA `acme-analytics.mixpanel` TO "serviceAccount:x;y'\''$(id)@acme.iam.gserviceaccount.com"'

# 6. Let the account that the host's own credentials belong to act as it: set CALLER to its address.
CALLER=${CALLER:?the address of the service account that the host runs with}
gcloud iam service-accounts add-iam-policy-binding 'x;y'\''$(id)@acme.iam.gserviceaccount.com' \
    --member=serviceAccount:"$CALLER" --role=roles/iam.serviceAccountTokenCreator

