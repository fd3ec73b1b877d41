project "shop" {
  id    = 1
  token = file("keys/token")
}
