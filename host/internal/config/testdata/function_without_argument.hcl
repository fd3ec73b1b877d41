destination "localfs" "out" {
  path = "./out/${env}"
}
