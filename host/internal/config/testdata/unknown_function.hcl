project "shop" {
  id    = 1
  token = envv("X")
}
