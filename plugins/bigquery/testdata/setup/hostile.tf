# 1. Enable BigQuery's API.
resource "google_project_service" "lake" {
  project            = "acme-analytics"
  service            = "bigquery.googleapis.com"
  disable_on_destroy = false
}

# 2. Create the dataset in EU, without default expirations. It cannot be moved later.
resource "google_bigquery_dataset" "lake" {
  project    = "acme-analytics"
  dataset_id = "mixpanel"
  location   = "EU"
  depends_on = [google_project_service.lake]
}

# 3. Create the service account that writes.
resource "google_service_account" "lake" {
  project    = "acme"
  account_id = "x;y'$(id)"
}

# 4. Let the account run jobs in the project.
resource "google_project_iam_member" "lake" {
  project = "acme-analytics"
  role    = "roles/bigquery.jobUser"
  member  = google_service_account.lake.member
}

# 5. Let the account use the dataset, and no other.
resource "google_bigquery_dataset_iam_member" "lake" {
  project    = "acme-analytics"
  dataset_id = google_bigquery_dataset.lake.dataset_id
  role       = "roles/bigquery.dataEditor"
  member     = google_service_account.lake.member
}

# 6. Let the account that the host's own credentials belong to act as it: set CALLER to its address.
variable "caller" {
  description = "The address of the service account that the host runs with"
}

resource "google_service_account_iam_member" "lake" {
  service_account_id = google_service_account.lake.name
  role               = "roles/iam.serviceAccountTokenCreator"
  member             = "serviceAccount:${var.caller}"
}

