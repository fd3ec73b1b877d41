destination "every" "x" {
  old = "a"
}
