project "shop" {
  id = 2195193
}
destination "localfs" "out" {
  path = "./out"
}
pipeline "daily" {
  project = "shop"
  stream = "events"
  destination = destination.localfs.out
  from_date = "2026-06-01"
  at = "3 o'clock"
  min_interval = "soon"
  rate_limit = "fast"
  sync = "maybe"
}
