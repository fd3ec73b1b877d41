project "shop" {
  id = 1
}
destination "localfs" "out" {
  path = "./out"
}
pipeline "events_out" {
  project     = "shop"
  stream      = "events"
  destination = "out"
  from_date   = "2026-06-01"
}
