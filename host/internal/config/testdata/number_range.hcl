project "shop" {
  id = 0
}
project "b" {
  id = -5
}
project "c" {
  id = 1.5
}
project "d" {
  id = 99999999999999999999
}
