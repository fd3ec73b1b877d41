project "shop" {
  id = 1
  timezone = "XQ"
}
