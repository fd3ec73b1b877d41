destination "gcs" "lake" {
  credentials = "hunter2" + 1
}
