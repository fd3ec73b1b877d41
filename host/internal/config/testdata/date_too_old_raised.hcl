host {
  max_backfill = "30d"
}
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
  from_date = "2026-05-31"
}
