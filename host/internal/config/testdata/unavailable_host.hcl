host {
  blobs     = "s3://acme-segments"
  catalog   = "postgres://penstock:hunter2@db/penstock"
  api {
    listen = "127.0.0.1:9090"
    token  = env("API_TOKEN")
  }
}
