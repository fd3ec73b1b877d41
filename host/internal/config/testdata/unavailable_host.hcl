host {
  blobs     = "s3://acme-segments"
  catalog   = "postgres://penstock:hunter2@db/penstock"
}
