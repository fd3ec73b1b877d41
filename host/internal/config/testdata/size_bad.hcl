host {
  memory = "64"
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
  from_date = "2026-06-01"
  max_run = "1 apple"
}
pipeline "b" {
  project = "shop"
  stream = "events"
  destination = destination.localfs.out
  from_date = "2026-06-01"
  max_run = "1kB"
  to_date = "2026-06-01"
}
