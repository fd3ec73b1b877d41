project "shop" {
  id    = 1 + "a"
  token = {}.a
}
