project "shop" {
  id = 2195193
}
destination "localfs" "out" {
  path = "./out"
}
source "files" "import" {
  project = "shopp"
  path = "./events/*.ndjson"
}
pipeline "daily" {
  project = "store"
  stream = "events"
  destination = destination.localfs.out
  from_date = "2026-06-01"
}
