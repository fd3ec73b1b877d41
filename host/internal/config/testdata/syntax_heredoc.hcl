destination "localfs" "out" {
  path = <<EOT
./out
}
