project "shop" {
  id = 2195193
}
project "shop" {
  id = 2195194
}
destination "localfs" "out" {
  path = "./out"
}
destination "localfs" "out" {
  path = "./out"
}
source "files" "import" {
  project = "shop"
  path = "./events/*.ndjson"
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
pipeline "daily" {
  project = "shop"
  stream = "events"
  destination = destination.localfs.out
  from_date = "2026-06-01"
}
