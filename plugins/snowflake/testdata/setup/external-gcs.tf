# 1. Create the key in us, which must be the bucket's location, and let Cloud Storage's service agent use it.
data "google_storage_project_service_account" "lake" {}

resource "google_kms_key_ring" "lake" {
  name     = "r"
  project  = "acme"
  location = "us"
}

resource "google_kms_crypto_key" "lake" {
  name     = "k"
  key_ring = google_kms_key_ring.lake.id
}

resource "google_kms_crypto_key_iam_member" "lake" {
  crypto_key_id = google_kms_crypto_key.lake.id
  role          = "roles/cloudkms.cryptoKeyEncrypterDecrypter"
  member        = data.google_storage_project_service_account.lake.member
}

# 2. Create the bucket in US, closed to the public. Unfinished uploads end by themselves after a week.
resource "google_storage_bucket" "lake" {
  name                        = "acme-stage"
  location                    = "US"
  uniform_bucket_level_access = true
  public_access_prevention    = "enforced"
  encryption {
    default_kms_key_name = "projects/acme/locations/us/keyRings/r/cryptoKeys/k"
  }
  depends_on                  = [google_kms_crypto_key_iam_member.lake]
}

# 3. Create the service account that writes. Its key is the value of stage_credentials.
resource "google_service_account" "lake" {
  account_id = "penstock-lake"
}

resource "google_service_account_key" "lake" {
  service_account_id = google_service_account.lake.name
}

# 4. Let the account use the bucket, with exactly the permissions that it needs.
resource "google_project_iam_custom_role" "lake" {
  role_id     = "penstock_lake"
  title       = "Penstock's destination"
  permissions = ["storage.objects.create", "storage.objects.delete", "storage.objects.get", "storage.objects.list"]
}

resource "google_storage_bucket_iam_member" "lake" {
  bucket = google_storage_bucket.lake.name
  role   = google_project_iam_custom_role.lake.id
  member = google_service_account.lake.member
}

# 5. Create the key pair of the user; the file is the value of private_key.
# openssl genrsa 2048 | openssl pkcs8 -topk8 -v2 aes-256-cbc -out penstock.p8
# openssl rsa -in penstock.p8 -pubout -out penstock.pub

# 6. Create database, schema, warehouse, role and user, with the rights that Penstock needs.
variable "penstock_public_key" {
  description = "The content of penstock.pub without its first and last line and without line breaks"
}

resource "snowflake_database" "lake" {
  name = "ANALYTICS"
}

resource "snowflake_schema" "lake" {
  database = snowflake_database.lake.name
  name     = "MIXPANEL"
}

resource "snowflake_warehouse" "lake" {
  name                = "PENSTOCK"
  warehouse_size      = "XSMALL"
  auto_suspend        = 60
  auto_resume         = "true"
  initially_suspended = true
}

resource "snowflake_account_role" "lake" {
  name = "PENSTOCK_LAKE"
}

resource "snowflake_service_user" "lake" {
  name              = "PENSTOCK"
  default_role      = snowflake_account_role.lake.name
  default_warehouse = snowflake_warehouse.lake.name
  rsa_public_key    = var.penstock_public_key
}

resource "snowflake_grant_account_role" "lake" {
  role_name = snowflake_account_role.lake.name
  user_name = snowflake_service_user.lake.name
}

resource "snowflake_grant_privileges_to_account_role" "lake_warehouse" {
  account_role_name = snowflake_account_role.lake.name
  privileges        = ["USAGE"]
  on_account_object {
    object_type = "WAREHOUSE"
    object_name = snowflake_warehouse.lake.name
  }
}

resource "snowflake_grant_privileges_to_account_role" "lake_database" {
  account_role_name = snowflake_account_role.lake.name
  privileges        = ["USAGE"]
  on_account_object {
    object_type = "DATABASE"
    object_name = snowflake_database.lake.name
  }
}

resource "snowflake_grant_privileges_to_account_role" "lake_schema" {
  account_role_name = snowflake_account_role.lake.name
  privileges        = ["USAGE", "CREATE TABLE", "CREATE VIEW", "CREATE STAGE"]
  on_schema {
    schema_name = snowflake_schema.lake.fully_qualified_name
  }
}

resource "snowflake_storage_integration" "lake" {
  name                      = "LAKE"
  type                      = "EXTERNAL_STAGE"
  storage_provider          = "GCS"
  enabled                   = true
  storage_allowed_locations = ["gcs://acme-stage/penstock/"]
}

resource "snowflake_grant_privileges_to_account_role" "lake_integration" {
  account_role_name = snowflake_account_role.lake.name
  privileges        = ["USAGE"]
  on_account_object {
    object_type = "INTEGRATION"
    object_name = snowflake_storage_integration.lake.name
  }
}

resource "google_project_iam_custom_role" "lake_snowflake" {
  role_id     = "penstock_lake_snowflake"
  title       = "Penstock's stage, for Snowflake"
  permissions = ["storage.buckets.get", "storage.objects.get", "storage.objects.list"]
}

resource "google_storage_bucket_iam_member" "lake_snowflake" {
  bucket = google_storage_bucket.lake.name
  role   = google_project_iam_custom_role.lake_snowflake.id
  member = "serviceAccount:${snowflake_storage_integration.lake.storage_gcp_service_account}"
}

resource "google_kms_crypto_key_iam_member" "lake_snowflake" {
  crypto_key_id = "projects/acme/locations/us/keyRings/r/cryptoKeys/k"
  role          = "roles/cloudkms.cryptoKeyDecrypter"
  member        = "serviceAccount:${snowflake_storage_integration.lake.storage_gcp_service_account}"
}

