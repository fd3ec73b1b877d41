destination "every" "x" {
  text  = []
  flag  = 2
  count = 1.5
  ratio = "much"
  names = "a"
  tags  = ["a"]
  file  = {}
  part  = 64
  wait  = "10"
  pin   = "hunter2"
}
