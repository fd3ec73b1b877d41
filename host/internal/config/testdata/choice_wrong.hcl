host {
  log_level = "warning"
  log_format = "yaml"
}
project "shop" {
  id       = 1
  identity = "simple"
}
destination "localfs" "out" {
  path = "./out"
}
pipeline "daily" {
  project = "shop"
  stream = "event"
  destination = destination.localfs.out
  from_date = "2026-06-01"
  frequency = "weekly"
}
