host "x" {
  memory = "1MB"
}
project "shop" {
  id = 1
}
