# A value that this version does not have is not offered.
project "shop" {
  id = 1
  profiles_from = "mixpnel"
}
destination "localfs" "out" {
  path = "./out"
}
pipeline "events_out" {
  project     = "shop"
  stream      = "events"
  destination = destination.localfs.out
  from_date   = "2026-06-01"
  frequency   = "minutely"
}
source "kafak" "x" {}
