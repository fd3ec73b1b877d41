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
  to_date     = "2026-05-01"
}
pipeline "events_two" {
  project     = "shop"
  stream      = "events"
  destination = destination.localfs.out
  from_date   = "2026-06-01"
}
