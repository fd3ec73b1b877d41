# test: env ENV=prod
locals {
  name   = lower("SHOP")
  dirs   = { prod = "live", dev = "try" }
  bucket = join("-", ["acme", local.dirs[env("ENV")]])
}
host {
  data_dir     = "/srv/penstock"
  plugin_dir   = "../plugins"
  memory       = "128MiB"
  max_backfill = "400d"
  log_level    = "debug"
  log_format   = "json"
}
project "shop" {
  id            = "2195193" # a number in a string, as env() gives it
  token         = "0123"
  timezone      = "Europe/Berlin"
  identity      = "legacy"
  profiles_from = "collector"
}
source "files" "lake" {
  project = local.name
  path    = "s3://acme-events/**/*.{json,ndjson}.gz?region=us-west-2"
  records = "events"
  follow  = true
}
destination "every" "thing" {
  text  = null
  count = 3
  names = ["a", "b"]
  tags  = { a = "b" }
  file  = "./key"
  part  = "1.5GiB"
  wait  = "1d12h"
  flag  = "false"
}
destination "s3" "lake" {
  bucket = local.bucket
}
pipeline "old" {
  project        = "shop"
  stream         = "events"
  destination    = destination.s3.lake
  from_date      = "2025-07-01"
  to_date        = "2025-12-31"
  frequency      = "hourly"
  sync           = true
  paused         = true
  backfill_order = "newest"
  max_run        = "256MiB"
  adopt          = true
  allow_shrink   = false
}
pipeline "new" {
  project     = "shop"
  stream      = "events"
  destination = destination["s3"]["lake"]
  from_date   = "2026-01-01"
}
