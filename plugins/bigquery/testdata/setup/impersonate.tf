# 1. Enable BigQuery's API.
resource "google_project_service" "lake" {
  project            = "acme-analytics"
  service            = "bigquery.googleapis.com"
  disable_on_destroy = false
}

# 2. Create the dataset in europe-west3, without default expirations. It cannot be moved later.
resource "google_bigquery_dataset" "lake" {
  project    = "acme-analytics"
  dataset_id = "mixpanel"
  location   = "europe-west3"
  depends_on = [google_project_service.lake]
}

# 3. Create the service account that writes.
resource "google_service_account" "lake" {
  project    = "acme"
  account_id = "export"
}

# 4. Let the account run jobs in the project.
resource "google_project_iam_member" "lake" {
  project = "acme-analytics"
  role    = "roles/bigquery.user"
  member  = google_service_account.lake.member
}

# 5. Let the account use the dataset, and no other.
resource "google_bigquery_dataset_iam_member" "lake" {
  project    = "acme-analytics"
  dataset_id = google_bigquery_dataset.lake.dataset_id
  role       = "roles/bigquery.dataEditor"
  member     = google_service_account.lake.member
}

# 6. Create the staging bucket in europe-west3, the dataset's location. Its rule deletes what interrupted runs have left.
resource "google_storage_bucket" "lake" {
  project                     = "acme-analytics"
  name                        = "acme-staging"
  location                    = "europe-west3"
  uniform_bucket_level_access = true
  public_access_prevention    = "enforced"
  lifecycle_rule {
    action {
      type = "Delete"
    }
    condition {
      age            = 2
      matches_prefix = ["penstock_staging/"]
    }
  }
}

# 7. Let the account use the staging bucket.
resource "google_storage_bucket_iam_member" "lake_objects" {
  bucket = google_storage_bucket.lake.name
  role   = "roles/storage.objectUser"
  member = google_service_account.lake.member
}

resource "google_storage_bucket_iam_member" "lake_bucket" {
  bucket = google_storage_bucket.lake.name
  role   = "roles/storage.legacyBucketReader"
  member = google_service_account.lake.member
}

# 8. Let the account that the host's own credentials belong to act as it: set CALLER to its address.
variable "caller" {
  description = "The address of the service account that the host runs with"
}

resource "google_service_account_iam_member" "lake" {
  service_account_id = google_service_account.lake.name
  role               = "roles/iam.serviceAccountTokenCreator"
  member             = "serviceAccount:${var.caller}"
}

