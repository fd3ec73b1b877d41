project "store" {
  id = 219519x
}
