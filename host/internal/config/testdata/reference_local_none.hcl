destination "localfs" "out" {
  path = local.dir
}
