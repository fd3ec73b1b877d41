locals {
  here = "."
}
destination "localfs" "out" {
  path = "./out"
}
source "files" "import" {
  project = "shop"
  path = "${local.here}/events/*"
}
