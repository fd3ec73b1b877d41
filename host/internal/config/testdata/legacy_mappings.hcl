project "shop" {
  id       = 1
  identity = "legacy"
}
project "blog" {
  id       = 2
  identity = "original"
}
destination "localfs" "out" {
  path = "./out"
}
pipeline "shop_ids" {
  project     = "shop"
  stream      = "identity"
  destination = destination.localfs.out
}
pipeline "blog_ids" {
  project     = "blog"
  stream      = "identity"
  destination = destination.localfs.out
}
