locals {
  a = 1
}
project "shop" {
  id = local.aa
}
