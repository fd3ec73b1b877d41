# test: command
locals {
  zone = env("ZONE")
}
host {
  data_dir   = env("DATA")
  plugin_dir = "${env("PLUGINS")}/x"
}
project "shop" {
  id       = env("ID")
  token    = env("SHOP_TOKEN")
  timezone = local.zone
}
destination "s3" "lake" {
  bucket = env("BUCKET")
}
pipeline "daily" {
  project     = "shop"
  stream      = "events"
  destination = destination.s3.lake
  from_date   = file("from.txt")
}
