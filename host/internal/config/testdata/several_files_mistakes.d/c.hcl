pipeline "daily" {
  project = "shop"
  stream = "events"
  destination = "localfs.none"
  from_date = "2026-06-01"
}
host {
  nope = 1
}
