destination "every" "x" {
  names = ["a", null]
  tags  = { a = null }
}
