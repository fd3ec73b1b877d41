project "shop" {
  id = null
}
