# test: command
locals {
  key = env("KEY")
}
project "shop" {
  id    = 1
  token = env("SHOP_TOKEN")
}
source "files" "import" {
  project = "shop"
  path    = env("EVENTS")
}
destination "s3" "lake" {
  bucket            = env("BUCKET")
  access_key_id     = local.key
  secret_access_key = file("secret.txt")
}
pipeline "daily" {
  project     = "shop"
  stream      = "events"
  destination = destination.s3.lake
  from_date   = "2026-06-01"
}
