project "shop" {
  id            = 1
  profiles_from = "mixpanel"
}
destination "localfs" "out" {
  path = "./out"
}
source "files" "import" {
  project = "shop"
  path = "./events/*.ndjson"
}
pipeline "daily" {
  project = "shop"
  stream = "events"
  destination = destination.localfs.out
  from_date = "2026-06-01"
}
