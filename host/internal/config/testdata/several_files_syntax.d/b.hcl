pipeline "daily" {
  project = "shop"
  stream = "events"
  destination = destination.localfs.out
  from_date = "2026-06-01"
}
host {
  nope = 1
}
