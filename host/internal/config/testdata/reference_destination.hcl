project "shop" {
  id = 2195193
}
destination "localfs" "out" {
  path = "./out"
}
pipeline "daily" {
  project = "shop"
  stream = "events"
  destination = destination.localfs.uot
  from_date = "2026-06-01"
}
pipeline "b" {
  project = "shop"
  stream = "events"
  destination = destination.s3.lake
  from_date = "2026-06-01"
}
pipeline "c" {
  project = "shop"
  stream = "events"
  destination = "out"
  from_date = "2026-06-01"
}
