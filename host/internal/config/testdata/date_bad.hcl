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
  from_date = "01.06.2026"
}
pipeline "b" {
  project = "shop"
  stream = "events"
  destination = destination.localfs.out
  from_date = "2026-02-30"
}
pipeline "c" {
  project = "shop"
  stream = "events"
  destination = destination.localfs.out
  from_date = 20260601
}
pipeline "d" {
  project = "shop"
  stream = "events"
  destination = destination.localfs.out
  from_date = "2026-6-1"
}
