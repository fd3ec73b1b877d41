project "shop" {
  id = 2195193
}
