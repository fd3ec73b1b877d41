project "shop" {
  id    = parseint("x", 10)
  token = element([], 0)
}
project "b" {
  id = length()
}
