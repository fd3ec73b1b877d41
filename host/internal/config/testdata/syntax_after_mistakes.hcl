project "shop" {
  id = "one"
}
host {
  data_dir = "./data
}
pipeline "daily" {
  project = "shop"
  stream = "events"
  destination = destination.localfs.out
  from_date = "2026-06-01"
}
