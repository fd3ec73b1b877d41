project = "shop" {
  id = 1
}
