# 1. Create the bucket in europe-west3, closed to the public. Its rule deletes what interrupted replacements have put aside; unfinished uploads end by themselves after a week.
resource "google_storage_bucket" "lake" {
  name                        = "acme-lake"
  location                    = "europe-west3"
  uniform_bucket_level_access = true
  public_access_prevention    = "enforced"
  lifecycle_rule {
    action {
      type = "Delete"
    }
    condition {
      age            = 7
      matches_prefix = ["7/_penstock/mp_master_event/aside/", "7/_penstock/mp_people_data/aside/", "7/_penstock/mp_identity_mappings_data/aside/"]
    }
  }
}

# 2. Create the service account that writes.
resource "google_service_account" "lake" {
  account_id = "export"
  project    = "acme"
}

# 3. Let the account use the bucket, with exactly the permissions that it needs.
resource "google_project_iam_custom_role" "lake" {
  role_id     = "penstock_lake"
  title       = "Penstock's destination"
  permissions = ["storage.objects.create", "storage.objects.delete", "storage.objects.get", "storage.objects.list", "storage.objects.update", "storage.buckets.get"]
  project     = "acme"
}

resource "google_storage_bucket_iam_member" "lake" {
  bucket = google_storage_bucket.lake.name
  role   = google_project_iam_custom_role.lake.id
  member = google_service_account.lake.member
}

# 4. Let the account that the host's own credentials belong to act as it: set CALLER to its address.
variable "caller" {
  description = "The address of the service account that the host runs with"
}

resource "google_service_account_iam_member" "lake" {
  service_account_id = google_service_account.lake.name
  role               = "roles/iam.serviceAccountTokenCreator"
  member             = "serviceAccount:${var.caller}"
}

