# 1. Create the key in us, which must be the bucket's location, and let Cloud Storage's service agent use it.
data "google_storage_project_service_account" "lake" {}

resource "google_kms_key_ring" "lake" {
  name     = "`r`"
  project  = "a$(id)"
  location = "us"
}

resource "google_kms_crypto_key" "lake" {
  name     = "k'"
  key_ring = google_kms_key_ring.lake.id
}

resource "google_kms_crypto_key_iam_member" "lake" {
  crypto_key_id = google_kms_crypto_key.lake.id
  role          = "roles/cloudkms.cryptoKeyEncrypterDecrypter"
  member        = data.google_storage_project_service_account.lake.member
}

# 2. Create the bucket in US, closed to the public. Its rule deletes what interrupted replacements have put aside; unfinished uploads end by themselves after a week.
resource "google_storage_bucket" "lake" {
  name                        = "acme-lake"
  location                    = "US"
  uniform_bucket_level_access = true
  public_access_prevention    = "enforced"
  lifecycle_rule {
    action {
      type = "Delete"
    }
    condition {
      age            = 7
      matches_prefix = ["a$(id)'$${x}/7/_penstock/mp_master_event/aside/", "a$(id)'$${x}/7/_penstock/mp_people_data/aside/", "a$(id)'$${x}/7/_penstock/mp_identity_mappings_data/aside/"]
    }
  }
  encryption {
    default_kms_key_name = "projects/a$(id)/locations/us/keyRings/`r`/cryptoKeys/k'"
  }
  depends_on                  = [google_kms_crypto_key_iam_member.lake]
}

# 3. Create the service account that writes.
resource "google_service_account" "lake" {
  account_id = "x;y'$(id)"
  project    = "acme"
}

# 4. Let the account use the bucket, with exactly the permissions that it needs.
resource "google_project_iam_custom_role" "lake" {
  role_id     = "penstock_lake"
  title       = "Penstock's destination"
  permissions = ["storage.objects.create", "storage.objects.delete", "storage.objects.get", "storage.objects.list", "storage.objects.update"]
  project     = "acme"
}

resource "google_storage_bucket_iam_member" "lake" {
  bucket = google_storage_bucket.lake.name
  role   = google_project_iam_custom_role.lake.id
  member = google_service_account.lake.member
}

# 5. Let the account that the host's own credentials belong to act as it: set CALLER to its address.
variable "caller" {
  description = "The address of the service account that the host runs with"
}

resource "google_service_account_iam_member" "lake" {
  service_account_id = google_service_account.lake.name
  role               = "roles/iam.serviceAccountTokenCreator"
  member             = "serviceAccount:${var.caller}"
}

