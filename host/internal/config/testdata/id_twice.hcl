project "shop" {
  id = 2195193
}
project "store" {
  id = 2195193
}
