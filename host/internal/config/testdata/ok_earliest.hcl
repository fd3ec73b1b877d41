# test: registered old=2020-01-01
project "shop" {
  id = 2195193
}
destination "localfs" "out" {
  path = "./out"
}
destination "localfs" "old" {
  path = "./old"
}
pipeline "new" {
  project     = "shop"
  stream      = "events"
  destination = destination.localfs.out
  from_date   = "earliest"
}
pipeline "old" {
  project     = "shop"
  stream      = "events"
  destination = destination.localfs.old
  from_date   = "earliest"
}
