project "shop" {
  id = 1
}
destination "localfs" "out" {
  path = "./out"
}
pipeline "people" {
  project     = "shop"
  stream      = "people"
  destination = destination.localfs.out
  sync        = false
}
