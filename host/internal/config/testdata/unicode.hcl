# é
project "shop" {
  id    = 1
  token = upper("日本é") + 1
}
