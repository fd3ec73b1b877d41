# A time of day fits the frequency.
project "shop" {
  id = 1
}
destination "localfs" "out" {
  path = "./out"
}
pipeline "a" {
  project     = "shop"
  stream      = "people"
  destination = destination.localfs.out
  at = ":15"
}
pipeline "b" {
  project     = "shop"
  stream      = "identity"
  destination = destination.localfs.out
  frequency = "hourly"
  at        = "03:15"
}
pipeline "c" {
  project     = "shop"
  stream      = "events"
  destination = destination.localfs.out
  from_date    = "2026-06-01"
  frequency    = "continuous"
  at           = "03:00"
  min_interval = "10ms"
}
