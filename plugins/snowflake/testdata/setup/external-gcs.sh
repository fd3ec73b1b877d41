# 1. Create the key in us, which must be the bucket's location, and let Cloud Storage's service agent use it.
gcloud kms keyrings describe r --project=acme --location=us > /dev/null 2>&1 || gcloud kms keyrings create r --project=acme --location=us
gcloud kms keys describe projects/acme/locations/us/keyRings/r/cryptoKeys/k > /dev/null 2>&1 || gcloud kms keys create k --keyring=r --purpose=encryption --project=acme --location=us
gcloud storage service-agent --authorize-cmek=projects/acme/locations/us/keyRings/r/cryptoKeys/k

# 2. Create the bucket in US, closed to the public. Unfinished uploads end by themselves after a week.
gcloud storage buckets create gs://acme-stage --uniform-bucket-level-access \
    --public-access-prevention \
    --default-encryption-key=projects/acme/locations/us/keyRings/r/cryptoKeys/k

# 3. Create the service account that writes. Its key is the value of stage_credentials.
PROJECT=$(gcloud config get-value project)
gcloud iam service-accounts create penstock-lake --project="$PROJECT"
gcloud iam service-accounts keys create key.json --iam-account=penstock-lake@"$PROJECT".iam.gserviceaccount.com

# 4. Let the account use the bucket, with exactly the permissions that it needs.
gcloud iam roles create penstock_lake --project="$PROJECT" --title='Penstock'\''s destination' \
    --permissions=storage.objects.create,storage.objects.delete,storage.objects.get,storage.objects.list
gcloud storage buckets add-iam-policy-binding gs://acme-stage \
    --member=serviceAccount:penstock-lake@"$PROJECT".iam.gserviceaccount.com --role=projects/"$PROJECT"/roles/penstock_lake

# 5. Create the key pair of the user; the file is the value of private_key.
openssl genrsa 2048 | openssl pkcs8 -topk8 -v2 aes-256-cbc -out penstock.p8
openssl rsa -in penstock.p8 -pubout -out penstock.pub

# 6. Create database, schema, warehouse, role and user, with the rights that Penstock needs. The lines between SQL and SQL can be run in a worksheet as well, with the key in place of @KEY@.
KEY="$(grep -v PUBLIC penstock.pub | tr -d '\n')"
sed -e "s|@KEY@|$KEY|" <<'SQL' | snow sql --stdin
USE ROLE SYSADMIN;
CREATE DATABASE IF NOT EXISTS "ANALYTICS";
CREATE SCHEMA IF NOT EXISTS "ANALYTICS"."MIXPANEL";
CREATE WAREHOUSE IF NOT EXISTS "PENSTOCK" WAREHOUSE_SIZE = XSMALL AUTO_SUSPEND = 60 AUTO_RESUME = TRUE INITIALLY_SUSPENDED = TRUE;
USE ROLE USERADMIN;
CREATE ROLE IF NOT EXISTS "PENSTOCK_LAKE";
CREATE USER IF NOT EXISTS "PENSTOCK" TYPE = SERVICE RSA_PUBLIC_KEY = '@KEY@' DEFAULT_ROLE = "PENSTOCK_LAKE" DEFAULT_WAREHOUSE = "PENSTOCK";
USE ROLE SECURITYADMIN;
GRANT ROLE "PENSTOCK_LAKE" TO USER "PENSTOCK";
GRANT USAGE ON WAREHOUSE "PENSTOCK" TO ROLE "PENSTOCK_LAKE";
GRANT USAGE ON DATABASE "ANALYTICS" TO ROLE "PENSTOCK_LAKE";
GRANT USAGE, CREATE TABLE, CREATE VIEW, CREATE STAGE ON SCHEMA "ANALYTICS"."MIXPANEL" TO ROLE "PENSTOCK_LAKE";
USE ROLE ACCOUNTADMIN;
CREATE STORAGE INTEGRATION IF NOT EXISTS "LAKE" TYPE = EXTERNAL_STAGE STORAGE_PROVIDER = 'GCS' ENABLED = TRUE STORAGE_ALLOWED_LOCATIONS = ('gcs://acme-stage/penstock/');
GRANT USAGE ON INTEGRATION "LAKE" TO ROLE "PENSTOCK_LAKE";
DESC INTEGRATION "LAKE";
SQL

# 7. Let Snowflake read the bucket. Put the value that DESC INTEGRATION has shown in place of STORAGE_GCP_SERVICE_ACCOUNT.
PROJECT=$(gcloud config get-value project)
gcloud iam roles create penstock_lake_snowflake --project="$PROJECT" --title='Penstock'\''s stage, for Snowflake' \
    --permissions=storage.buckets.get,storage.objects.get,storage.objects.list
gcloud storage buckets add-iam-policy-binding gs://acme-stage \
    --member=serviceAccount:STORAGE_GCP_SERVICE_ACCOUNT --role=projects/"$PROJECT"/roles/penstock_lake_snowflake
gcloud kms keys add-iam-policy-binding projects/acme/locations/us/keyRings/r/cryptoKeys/k \
    --member=serviceAccount:STORAGE_GCP_SERVICE_ACCOUNT --role=roles/cloudkms.cryptoKeyDecrypter

