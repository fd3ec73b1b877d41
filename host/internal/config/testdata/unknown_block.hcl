projekt "shop" {
  id = 1
}
banana {
}
