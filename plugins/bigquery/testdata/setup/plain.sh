# 1. Enable BigQuery's API.
gcloud services enable bigquery.googleapis.com --project=acme-analytics

# 2. Create the dataset in EU, without default expirations. It cannot be moved later.
bq --location=EU mk --dataset acme-analytics:mixpanel

# 3. Create the service account that writes. Its key is the value of credentials.
gcloud iam service-accounts create penstock-lake --project=acme-analytics
gcloud iam service-accounts keys create key.json \
    --iam-account=penstock-lake@acme-analytics.iam.gserviceaccount.com

# 4. Let the account run jobs in the project.
gcloud projects add-iam-policy-binding acme-analytics \
    --member=serviceAccount:penstock-lake@acme-analytics.iam.gserviceaccount.com \
    --role=roles/bigquery.jobUser --condition=None

# 5. Let the account use the dataset, and no other.
bq query --project_id=acme-analytics --use_legacy_sql=false \
    'GRANT `roles/bigquery.dataEditor` ON SCHEMA `acme-analytics.mixpanel` TO "serviceAccount:penstock-lake@acme-analytics.iam.gserviceaccount.com"'

