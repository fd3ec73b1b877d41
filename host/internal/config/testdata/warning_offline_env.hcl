# test: offline
project "shop" {
  id       = env("SHOP_ID")
  token    = env("SHOP_TOKEN")
  timezone = env("SHOP_ZONE")
}
destination "localfs" "out" {
  path = "./out"
}
pipeline "daily" {
  project = "shop"
  stream = "events"
  destination = destination.localfs.out
  from_date = env("FROM")
}
pipeline "other" {
  project = "shop"
  stream = "events"
  destination = destination.localfs.out
  from_date = env("FROM")
}
