# test: registered daily=2020-01-01
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
  from_date = "2020-01-01"
}
