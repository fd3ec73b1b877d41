project "shop" {
  id = 
}
destination "localfs" "out" {
  path = "./out"
}
