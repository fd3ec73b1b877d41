project "shop" {
  id = 2195193
}
destination "localfs" "out" {
  path = "./out"
}
pipeline "daily" {
  project = "shop"
  stream = "events"
  destination = "localfs.uot"
  from_date = "2026-06-01"
}
