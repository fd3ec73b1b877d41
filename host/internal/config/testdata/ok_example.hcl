# test: env SHOP_TOKEN=0123456789abcdef
host {
  data_dir   = "./data"
  plugin_dir = "./bin/plugins"
}
project "shop" {
  id       = 2195193
  token    = env("SHOP_TOKEN")
  timezone = "UTC"            # IANA name
  identity = "simplified"     # or "original", "legacy"
}
source "files" "import" {
  project = "shop"
  path    = "./events/*.ndjson.gz"   # glob; .ndjson .jsonl .json, plain, .gz or .zst; also s3://, gs://, azblob://
  follow  = false                    # true: watch for new and grown files
}
destination "localfs" "out" {
  path = "./out"
}
destination "s3" "lake" {
  bucket     = "acme-lake"
  region     = "us-west-2"
  role_arn   = "arn:aws:iam::123456789012:role/export"   # optional: assume role, external_id = project token by default
  encryption = "kms"                                      # none | aes | kms (+ kms_key_id)
  endpoint   = "http://127.0.0.1:9000"                    # optional: S3-compatible servers; path_style = true
}
pipeline "events_to_out" {
  project     = "shop"
  stream      = "events"
  destination = "localfs.out"
  from_date   = "2026-06-01"
  frequency   = "daily"
}
