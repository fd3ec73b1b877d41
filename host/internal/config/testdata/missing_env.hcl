project "shop" {
  id    = 1
  token = "x-${env("SHOP_TOKEN")}"
}
