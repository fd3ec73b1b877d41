# Nor is an attribute.
project "shop" {
  id = 1
}
destination "localfs" "out" {
  path = "./out"
}
pipeline "events_out" {
  project     = "shop"
  stream      = "events"
  destination = destination.localfs.out
  from_date   = "2026-06-01"
  schedule    = "daily"
}
host {
  nothing = 1
}
